"""What runs in processes of its own: targets, cold starts, load, the limit of the machine."""
