"""The rows of a benchmark: its cases, pauses and models. The fields are in docs/json.md."""

from __future__ import annotations

from typing import Literal

import msgspec

from toolchain.benchmarking.figures.case_name import CaseAfterPauseKey, CaseKey, CaseName
from toolchain.benchmarking.figures.samples import Samples
from toolchain.benchmarking.figures.statistics import Interval
from toolchain.benchmarking.figures.verdicts import Reason, Verdict
from toolchain.runtime.card import InputKind, Precision

NO_BOUNDS: Interval = (None, None)
Relation = Literal["first", "same model", "other precision", "other model", "changed file"]
"""What a target is to the first one: by weights, classes and image size of their cards. A changed
file is the same model, but another tool has quantised or converted it."""


class TargetResult(CaseName, frozen=True, kw_only=True):
    """One target at one batch size. The fields are described in docs/json.md.

    What a benchmark of an older rtl has not measured is None.
    """

    model: str
    verdict: Verdict
    reasons: list[Reason] = msgspec.field(default_factory=list)
    """What speaks against the figures; none where they are VALID."""
    attempts: int = 1
    calls: int | None = None
    lacking_calls: list[str] = msgspec.field(default_factory=list)
    """The percentiles that too few calls were measured for, in words."""
    p50_ms: float
    p50_interval_ms: Interval = NO_BOUNDS
    p90_ms: float
    p90_interval_ms: Interval = NO_BOUNDS
    p99_ms: float
    p99_interval_ms: Interval = NO_BOUNDS
    mean_ms: float | None = None
    mean_interval_ms: Interval = NO_BOUNDS
    min_ms: float | None = None
    min_interval_ms: Interval = NO_BOUNDS
    images_per_s: float
    images_per_s_interval: Interval = NO_BOUNDS
    ratio_to_first: float | None = None
    """Median latency of the first target, at this batch size and these threads, over its own; None
    where the first target was not measured at it."""
    ratio_to_first_interval: Interval | None = None
    """None for the first target itself."""
    load_ms: float | None = None
    peak_memory_mb: float | None = None
    others_cores: float | None = None
    """Cores that other programs took while it was measured."""
    energy_j_per_image: float | None = None
    samples: Samples | None = None

    @property
    def key(self) -> CaseKey:
        """What tells this row apart from the others of its benchmark, those after pauses too."""
        return self.case


class PauseResult(CaseName, frozen=True, kw_only=True):
    """One target called after pauses. The fields are described in docs/json.md."""

    pause_s: float
    keep_warm: bool
    calls: int
    p50_ms: float
    p50_interval_ms: Interval
    ratio_to_back_to_back: float
    """Its median over that of calls that follow each other."""
    samples: Samples | None = None
    """None in a benchmark of an older rtl."""

    @property
    def key(self) -> CaseAfterPauseKey:
        """What tells this row apart from the others of its benchmark."""
        return CaseAfterPauseKey(self.case, self.pause_s, self.keep_warm)


class ComparedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A target as a model: what it is, how accurate, and how its answers differ from the first's.

    The fields are described in docs/json.md.
    """

    target: str
    model: str
    architecture: str
    precision: Precision
    input: InputKind
    batch: int | None
    """The only batch size that it takes, which it was measured at; None for any."""
    classes: int
    image_size: int
    accuracy: float | None
    """As its card says; None where it does not."""
    accuracy_images: int | None
    accuracy_split: str | None
    relation: Relation
    compared_inputs: int
    """Inputs whose answers were compared with the first target's; 0 where they can't be."""
    max_difference: float | None
    """Largest absolute difference of a logit."""
    other_labels: int | None
    """Inputs with another label, or set of labels."""
    weights_sha256: str | None = None
    """Of the trained weights, as its card says; None from an older rtl."""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """An export of a run that was not measured, and why."""

    model: str
    reason: str
