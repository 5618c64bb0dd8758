"""A few samples of many, spread over the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def evenly(items: Sequence[Path], count: int) -> list[Path]:
    """Return `count` items spread over all of them; samples stand by class, so each is met."""
    if len(items) <= count:
        return list(items)
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, count)]
