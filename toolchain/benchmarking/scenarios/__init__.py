"""Queries as MLCommons' LoadGen asks them: its scenarios, its runs, the search of a rate."""
