"""Options of fp16 and int8: what they may cost, and how int8 is calibrated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Method = Literal["minmax", "entropy", "percentile"]


@dataclass(frozen=True)
class Limits:
    """What a lower precision may cost."""

    max_drop: float = 0.01
    """Largest drop of the accuracy; 0.01 is one percentage point."""
    max_flips: float = 0.02
    """Largest share of the images whose label differs from float32's, in 0…1."""


@dataclass(frozen=True)
class Calibration:
    """How the ranges of the activations are determined."""

    images: int = 128
    """Number of training images that are used; all of them where there are fewer."""
    method: Method = "minmax"
    """How onnxruntime turns the values of an activation into a range."""


@dataclass(frozen=True)
class Reduction:
    """How files of a lower precision are made and what they may cost."""

    limits: Limits = field(default_factory=Limits)
    calibration: Calibration = field(default_factory=Calibration)
