"""Files of a lower precision: built, measured, accepted or refused."""
