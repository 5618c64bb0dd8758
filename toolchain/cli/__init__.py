"""The command line: parse, call one story, print."""
