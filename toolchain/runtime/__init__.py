"""What ships to the device: from an image's bytes to a prediction, without torch."""
