"""The demo: a data set that is drawn, and the whole way through rtl on it."""
