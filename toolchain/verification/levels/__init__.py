"""The levels of a verification, one file each: what is compared, and by which rule."""
