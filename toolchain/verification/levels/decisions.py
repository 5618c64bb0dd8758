"""Level "decisions": the same image bytes give the same label, or the same set of labels."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.data.layouts import Label
from toolchain.metrics.intervals import clopper_pearson_upper
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.verification.result import Figures, Level

TIES = {
    "single-label": "where the two best logits are within twice the bound",
    "multi-label": "in classes whose logit is within the bound of the threshold's",
}
"""Task → what a tie is, in words."""
TOP_CLASSES = 5
NAMED_IMAGES = 10
"""Images with another label that a report names."""
IMAGE_INPUT_TIE = 1e-2
"""How far a logit of a file with input `image` may be off (relative to max(1, the largest)) before
another label counts; the resize in its graph is within a level of Pillow's, not equal."""

Flags = NDArray[np.bool_]


class Decisions(msgspec.Struct, frozen=True):
    """How many images got another label, or another set of labels, than from the reference."""

    images: int
    flips: int
    flips_outside_margin: int
    allowed_flips: int
    flip_rate_upper: float
    """Upper 95 % bound (Clopper-Pearson) of the rate of flips outside the margin."""
    flipped: tuple[str, ...]
    """Names of the images with another label, at most NAMED_IMAGES."""
    top5_overlap: float
    """Mean share of the five best classes that both have, in 0…1."""
    mean_probability_distance: float
    """Mean over the images of half the summed differences (total variation); multi-label: the mean
    difference of a class."""
    max_probability_difference: float

    @property
    def passed(self) -> bool:
        """True when something was compared, and no more labels differ than allowed."""
        return (
            self.images > 0
            and self.flips_outside_margin <= self.allowed_flips
            and not np.isnan(self.max_probability_difference)
        )


def decisions_rule(card: Card, bound: float, max_flips: float) -> str:
    """Return the rule for the labels of a model with this card, in words."""
    what = "label" if card.task == "single-label" else "set of labels"
    allowed = f"no {what} differs" if not max_flips else f"at most {max_flips:.1%} {what}s differ"
    return f"{allowed}, but {TIES[card.task]} {bound:.1g} (a tie)"


def compare_decisions(
    names: list[str],
    reference: ModelOutputs,
    candidate: ModelOutputs,
    *,
    card: Card,
    bound: float,
    max_flips: float = 0.0,
) -> Decisions:
    """Compare the labels of two outputs for the same images, by the card's task and threshold.

    `bound` is how far a logit may be from its reference: nearer decisions are ties. `max_flips` is
    the share of images that may still have another label; above 0 for lower precisions only.
    """
    images = len(names)
    if card.task == "multi-label":
        flipped, outside = _flipped_sets(reference, candidate, card, bound)
    else:
        flipped, outside = _flipped_labels(reference.logits, candidate.logits, bound)
    distance = np.abs(reference.probabilities.astype(np.float64) - candidate.probabilities)
    per_image = distance.mean(axis=1) if card.task == "multi-label" else distance.sum(axis=1) / 2
    return Decisions(
        images=images,
        flips=int(flipped.sum()),
        flips_outside_margin=int(outside.sum()),
        allowed_flips=int(max_flips * images + 1e-9),  # 29 % of 100 are 28.999… in floating point
        flip_rate_upper=clopper_pearson_upper(int(outside.sum()), images) if images else 1.0,
        flipped=tuple(n for n, flip in zip(names, flipped, strict=True) if flip)[:NAMED_IMAGES],
        top5_overlap=_top_overlap(reference.logits, candidate.logits),
        mean_probability_distance=float(per_image.mean()) if images else 0.0,
        max_probability_difference=float(distance.max(initial=0.0)),
    )


def decisions_level(
    against: str,
    card: Card,
    names: list[str],
    reference: ModelOutputs,
    candidate: ModelOutputs,
    bound: float,
    *,
    labels: Sequence[Label] = (),
) -> Level:
    """Compare the labels that outputs lead to; where the true ones are given, the accuracy too.

    Against the run, a file of a lower precision has the share of other labels that its export
    accepted.
    """
    accepted = card.acceptance if against == "run" else None
    max_flips = accepted.max_flips if accepted else 0.0
    result = compare_decisions(
        names, reference, candidate, card=card, bound=bound, max_flips=max_flips
    )
    figures: Figures = {
        "images": result.images,
        "flips": result.flips,
        "flips_outside_margin": result.flips_outside_margin,
        "allowed_flips": result.allowed_flips,
        "margin": 2 * bound if card.task == "single-label" else bound,
        "flip_rate_upper_95": result.flip_rate_upper,
        "top5_overlap": result.top5_overlap,
        "mean_probability_distance": result.mean_probability_distance,
        "max_probability_difference": result.max_probability_difference,
    }
    if result.flipped:
        figures["flipped"] = result.flipped
    if labels:
        for name, outputs in (("accuracy_before", reference), ("accuracy", candidate)):
            figures[name] = float(correct(outputs, labels, card).mean())
    flipped = f": {', '.join(result.flipped)}" if result.flipped else ""
    return Level(
        level="decisions",
        against=against,
        passed=result.passed,
        rule=decisions_rule(card, bound, max_flips),
        summary=f"{result.images} images, {result.flips} other labels{flipped} "
        f"(rate under {result.flip_rate_upper:.1%}), "
        f"probabilities within {result.max_probability_difference:.1g}",
        figures=figures,
    )


def correct(outputs: ModelOutputs, labels: Sequence[Label], card: Card) -> Flags:
    """Return bool [images]: whether each label, or each whole set of labels, is the true one."""
    if card.task == "single-label":
        return np.asarray(outputs.logits.argmax(1) == np.asarray(labels))
    truth = np.zeros(outputs.probabilities.shape, bool)
    for row, label in zip(truth, labels, strict=True):
        row[list(label) if isinstance(label, tuple) else label] = True
    return np.asarray(((outputs.probabilities >= card.label_threshold) == truth).all(axis=1))


def tie_bound(card: Card, reference: NDArray[np.float32], tolerance: float) -> float:
    """Return how far a logit may be from its reference logits float32 [images, classes]."""
    relative = IMAGE_INPUT_TIE if card.input == "image" else 2 * tolerance
    return relative * max(1.0, float(np.abs(reference).max(initial=0.0)))


def _flipped_labels(
    reference: NDArray[np.float32], candidate: NDArray[np.float32], bound: float
) -> tuple[Flags, Flags]:
    """Return (images with another label, those of them that are no tie), from the logits."""
    flipped = reference.argmax(1) != candidate.argmax(1)
    # In float64: the bound of huge stored logits is above the largest float32.
    best_two = np.sort(reference, axis=1)[:, -2:].astype(np.float64)
    # Each of two logits may move by the bound: a lead of less than twice that is a tie.
    tied = best_two[:, 1] - best_two[:, 0] <= 2 * bound
    return flipped, flipped & ~tied


def _flipped_sets(
    reference: ModelOutputs, candidate: ModelOutputs, card: Card, bound: float
) -> tuple[Flags, Flags]:
    """Return (images with another set of labels, those in which some class is no tie)."""
    threshold = card.label_threshold
    flips = (reference.probabilities >= threshold) != (candidate.probabilities >= threshold)
    with np.errstate(divide="ignore"):  # a threshold of 0 or 1 is no finite logit
        odds = np.float64(threshold) / np.float64(1 - threshold)
        threshold_logit = card.temperature * np.log(odds)
    # One logit alone decides over its class, so the bound counts once.
    tied = np.abs(reference.logits - threshold_logit) <= bound
    return flips.any(axis=1), (flips & ~tied).any(axis=1)


def _top_overlap(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> float:
    """Return the mean share of the best classes that are among the best of both."""
    count = min(TOP_CLASSES, reference.shape[1])
    if not len(reference):
        return 1.0
    best = [
        np.argsort(-logits, axis=1, kind="stable")[:, :count] for logits in (reference, candidate)
    ]
    shared: list[int] = [
        len(set(a) & set(b)) for a, b in zip(*(rows.tolist() for rows in best), strict=True)
    ]
    share: float = sum(shared) / (count * len(shared))
    return share
