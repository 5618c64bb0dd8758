"""Compare a model file with the model it was made from, and describe a model file."""
