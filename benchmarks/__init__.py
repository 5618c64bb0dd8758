"""Benchmarks as ratios of two things measured in one run, and the tables of docs/results.md."""
