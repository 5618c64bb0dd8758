"""A file for each tool that labels photographs: whole processes in the peers' environment.

    python -m benchmarks.peers.labellers.NAME MODEL LABELS PHOTOGRAPHS

PHOTOGRAPHS is a folder or one file; LABELS is the JSON file to write. Each is the shortest program
that the tool's documentation suggests.
"""
