"""The pictures of the report: photographs, activation maps, similar training images."""
