"""The demo: a data set that is drawn, and every step of rtl on it."""
