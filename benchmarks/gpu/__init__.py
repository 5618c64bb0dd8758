"""One script for a machine with a GPU: training, model files and engines; see `__main__.py`."""
