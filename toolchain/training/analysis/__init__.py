"""Loss curves of a run: diagnosis, advice, learning-rate sweeps and plots."""
