"""Images: from bytes to the pixels that the network sees."""
