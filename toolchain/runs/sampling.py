"""Choose a few of many files, spread over the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def evenly(items: Sequence[Path], count: int) -> list[Path]:
    """Return `count` items at even distances, in their order; all of them if there are not more.

    Samples are sorted by class, so every class is represented.
    """
    if len(items) <= count:
        return list(items)
    return [items[int(index)] for index in np.linspace(0, len(items) - 1, count)]
