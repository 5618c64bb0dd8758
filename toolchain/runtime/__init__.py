"""What runs on a device: from the bytes of an image to a prediction, without torch."""
