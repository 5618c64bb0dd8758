"""Many images to rows: where the images come from, where the rows go, and how it resumes."""
