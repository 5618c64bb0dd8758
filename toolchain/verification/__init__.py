"""Is this file the model it was made from? Asked in the workshop, and on the device."""
