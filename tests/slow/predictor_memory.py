"""Check that the memory of a process that predicts for a long time does not grow.

    python tests/slow/predictor_memory.py runs/photos/export/model.onnx

Predicts images of changing sizes with one predictor and compares the resident memory after `--last`
predictions with that after `--first`. The exit status is 1 where it has grown by more than 2 %.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from toolchain import Predictor

MAX_GROWTH = 1.02
SIZES = ((300, 200), (64, 640), (97, 101), (512, 384), (33, 20))


def main() -> int:
    """Predict, print the memory at intervals, and return 1 where it has grown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument(
        "--first", type=int, default=1000, help="predictions before the first measurement"
    )
    parser.add_argument("--last", type=int, default=20_000)
    parser.add_argument("--threads", type=int, help="by default the usable cores")
    parser.add_argument("--leak", type=int, default=0, help="kB to leak in each prediction")
    arguments = parser.parse_args()
    images = [jpeg(width, height) for width, height in SIZES]
    leaked = []
    sizes: dict[int, float] = {}
    with Predictor(arguments.model, threads=arguments.threads) as predictor:
        for number in range(1, arguments.last + 1):
            predictor(images[number % len(images)])
            if arguments.leak:
                leaked.append(np.ones(arguments.leak * 128))
            if number % arguments.first == 0:
                sizes[number] = resident_mb()
                print(f"{sizes[number]:7.1f} MB after {number} predictions", flush=True)
    ratio = sizes[max(sizes)] / sizes[arguments.first]
    print(f"{ratio:.4f} times what it was after {arguments.first}; {MAX_GROWTH} is allowed")
    return int(ratio > MAX_GROWTH)


def jpeg(width: int, height: int) -> bytes:
    """Return a JPEG of noise."""
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "jpeg")
    return stream.getvalue()


def resident_mb() -> float:
    """Return the resident memory of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("this system does not say how much memory a process holds")


if __name__ == "__main__":
    sys.exit(main())
