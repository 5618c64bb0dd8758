"""`rtl report`: what training, evaluation, export and benchmarks left, as one page to read."""
