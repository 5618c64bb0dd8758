"""What a file is compared with: its card, stored outputs, the run."""
