"""What a file is compared with: its own card, the outputs stored beside it, and its run."""
