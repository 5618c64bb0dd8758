"""The run folder: its files, its settings, and the trained run that is read from it."""
