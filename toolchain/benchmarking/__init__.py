"""Latency, throughput and memory of model files side by side, with confidence intervals."""
