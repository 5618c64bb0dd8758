"""Is this file the model it was made from? Asked on the desk where it was made, and on the device."""
