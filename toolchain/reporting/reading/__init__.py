"""What a run folder holds, as the report reads it."""
