"""What a lower precision costs and gains beside float32, and whether that is accepted."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.data.layouts import Label
from toolchain.errors import RefusedError
from toolchain.exporters.precision.options import Limits
from toolchain.metrics.evidence import can_show_a_difference, flips_words, most_flips
from toolchain.metrics.mcnemar import mcnemar_p
from toolchain.runtime.card import Acceptance, Card, Precision
from toolchain.runtime.model_inputs import ModelOutputs, Pixels
from toolchain.runtime.predictor import Predictor
from toolchain.verification.levels import numbers
from toolchain.verification.levels.decisions import compare_decisions, correct, tie_bound

TIMING_ROUNDS, CALLS_PER_ROUND = 15, 3


@dataclass(frozen=True, eq=False)
class AcceptanceCheck:
    """Validation images with their labels and the outputs of the float32 file."""

    names: list[str]
    pixels: Pixels
    """uint8 [images, size, size, 3]."""
    labels: Sequence[Label]
    before: ModelOutputs
    """Outputs of the float32 file."""
    card: Card
    """The card of the file in the lower precision."""
    limits: Limits

    def measure(self, after: ModelOutputs) -> Acceptance:
        """Return what the outputs of the lower precision cost in accuracy and labels."""
        was, now = (correct(outputs, self.labels, self.card) for outputs in (self.before, after))
        bound = tie_bound(self.card, self.before.logits, numbers.TOLERANCES["fp32"])
        flips = compare_decisions(self.names, self.before, after, card=self.card, bound=bound)
        return Acceptance(
            images=len(self.names),
            accuracy_before=float(was.mean()),
            accuracy_after=float(now.mean()),
            p_value=mcnemar_p(int((was & ~now).sum()), int((now & ~was).sum())),
            max_drop=self.limits.max_drop,
            flips=flips.flips_outside_margin,
            max_flips=self.limits.max_flips,
        )

    def within_tolerance(self, after: ModelOutputs) -> bool:
        """Return whether the outputs pass level "numbers", which a broken file does not."""
        return all(
            numbers.compare_numbers(a, b, self.card.precision).passed
            for a, b in zip(self.before, after, strict=True)
        )


def within_limits(found: Acceptance) -> bool:
    """Return whether accuracy and labels are within the limits."""
    # The small margins let a figure pass that is exactly the limit but for floating point.
    allowed_flips = found.max_flips * found.images
    return found.drop <= found.max_drop + 1e-9 and found.flips <= allowed_flips + 1e-9


def require_accepted(found: Acceptance, precision: Precision) -> None:
    """Raise RefusedError with accuracy, labels and speed, where one of them is beyond its limit.

    Too few images to show any difference are refused too, unless the limits allow what they leave
    possible.
    """
    possible = most_flips(found.flips, found.images)
    if not can_show_a_difference(found.images) and possible > found.max_flips:
        raise RefusedError(
            f"{precision} is refused: {found.flips} of {found.images} labels differ, "
            f"{flips_words(found.flips, found.images)}; the file was not kept",
            hint="a run with 6 validation images or more can show what it costs; "
            f"--max-flips {math.ceil(possible * 100)} keeps it without",
        )
    faster = found.speed_ratio is None or found.speed_ratio > 1
    if within_limits(found) and faster:
        return
    rate = found.flips / found.images
    speed = "not measured" if found.speed_ratio is None else f"{found.speed_ratio:.2f} × fp32"
    raise RefusedError(
        f"{precision} is refused: accuracy {found.accuracy_before:.1%} → "
        f"{found.accuracy_after:.1%} (allowed drop {found.max_drop * 100:g} points, "
        f"p = {found.p_value:.2g}), {rate:.1%} of {found.images} labels differ "
        f"(allowed {found.max_flips:.1%}), speed {speed}; the file was not kept",
        hint=_hint(found, precision),
    )


def _hint(found: Acceptance, precision: Precision) -> str:
    if within_limits(found):
        return "fp32 is the faster one on this machine"
    limits = "--max-drop and --max-flips set the limits"
    if precision == "fp16":
        return limits
    return f"{limits}; more --calibration-images or another --calibration-method may help"


def speed_ratio(before: Predictor, after: Predictor, pixels: Pixels) -> float:
    """Return the seconds of `before` over those of `after`, for a batch of pixels.

    It is the median of paired rounds, so that drift of the machine affects both.
    """

    def seconds(predictor: Predictor) -> float:
        started = time.perf_counter()
        for _ in range(CALLS_PER_ROUND):
            predictor.run(pixels)
        return time.perf_counter() - started

    seconds(before), seconds(after)  # the first calls allocate
    return statistics.median(seconds(before) / seconds(after) for _ in range(TIMING_ROUNDS))
