"""What the labellers have in common: their arguments, and the file that they write."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

BATCH, WORKERS, PIXELS, RESIZED = 32, 2, 224, 256
"""For tools that leave batches to their user."""
CLASSES = ("ants", "bees")


def main(label: Callable[[str, list[str]], Sequence[str]]) -> None:
    """Label the photographs of the command line with the model that it names."""
    model, output, given = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    paths = sorted(str(path) for path in given.iterdir()) if given.is_dir() else [str(given)]
    labels = label(model, paths)
    found = {Path(path).name: name for path, name in zip(paths, labels, strict=True)}
    output.write_text(json.dumps(found), encoding="utf-8")
