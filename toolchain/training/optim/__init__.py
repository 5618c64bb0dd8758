"""Losses, optimisers, schedules, averaging and precision."""
