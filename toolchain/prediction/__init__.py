"""Images to rows: what is asked for, where the answers go, and how one goes on."""
