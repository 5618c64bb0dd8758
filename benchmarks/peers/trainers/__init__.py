"""A file for each tool that trains. They run in the peers' environment, as whole processes.

    python -m benchmarks.peers.trainers.NAME train PHOTOGRAPHS FOLDER --epochs 5 --seed 0
    python -m benchmarks.peers.trainers.NAME label PHOTOGRAPHS FOLDER

The first is timed: it leaves a trained model in FOLDER. The second is not: it labels the validation
photographs with that model. Each tool is called as its own introduction does it, with its defaults,
but for the starting weights, 224 pixels, two processes that load data, and no downloads.
"""
