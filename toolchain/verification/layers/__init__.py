"""The outputs of a file layer by layer, in each format, and the first that is not the run's."""
