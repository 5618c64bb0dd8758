"""Lengths of time as people write them: 0.2s, 200ms, 5m, 1h."""

from __future__ import annotations

import math
import re

UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*")


def seconds_of(text: str) -> float:
    """Return a length of time in seconds; a number without a unit is of seconds.

    Raises ValueError for anything else, and for nothing.

    >>> [seconds_of(text) for text in ("200ms", "5m", "1.5 h", "2")]
    [0.2, 300.0, 5400.0, 2.0]
    """
    match = DURATION.fullmatch(text.lower())
    unit = UNITS_S.get((match[2] or "s") if match else "")
    if match is None or unit is None:
        raise ValueError(f"'{text}' is no length of time: write 200ms, 30s, 5m or 1h")
    seconds = float(match[1]) * unit
    if not 0 < seconds < math.inf:
        raise ValueError(f"'{text}' is no length of time above zero")
    return seconds
