"""What a lower precision may cost, and how int8 is calibrated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Method = Literal["minmax", "entropy", "percentile"]


@dataclass(frozen=True)
class Limits:
    """What a lower precision may cost."""

    max_drop: float = 0.01
    """Of the accuracy, in 0…1."""
    max_flips: float = 0.02
    """Images with another label, as a share of all."""


@dataclass(frozen=True)
class Calibration:
    """How the ranges of activations are found."""

    images: int = 128
    """Training images; all of them where there are fewer."""
    method: Method = "minmax"


@dataclass(frozen=True)
class Reduction:
    """How files of a lower precision are made and judged."""

    limits: Limits = field(default_factory=Limits)
    calibration: Calibration = field(default_factory=Calibration)
