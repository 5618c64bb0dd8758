"""What the curves of a run say, and how they are drawn."""
