"""From the latencies of calls to figures: intervals, how many calls they need, verdicts."""
