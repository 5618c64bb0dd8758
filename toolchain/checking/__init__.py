"""`rtl data check`: what is wrong with the data, its files and its labels."""
