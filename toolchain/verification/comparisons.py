"""What was compared, as levels: the figures, the rule and the verdict of each."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.data.layouts import Label
from toolchain.errors import ImageError
from toolchain.runtime.card import Card, Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.runtime.model_inputs import Both, Pixels
from toolchain.verification.levels import decisions, numbers, pixels
from toolchain.verification.levels.image_formats import odd_kinds
from toolchain.verification.references.trained_model import resized
from toolchain.verification.result import Figures, Level

DOOR_TIE = 1e-2
"""`image` door: how far a logit may move (relative to max(1, the largest)) before a flip counts;
the graph's resize is within a level of Pillow's, not equal."""
DOOR_INSIDE, DOOR_BORDER = 1, 60
"""`image` door: how many levels a pixel may be off by, inside and where the border of the resized
image is kept. Of a filter at the border up to an eighth lies outside; onnxruntime gives that to the
outermost pixel, Pillow to all of them. In a corner it is 1 − (7/8)² of 255."""

CARD_FIELDS = (
    "classes",
    "task",
    "preprocessing",
    "normalisation",
    "temperature",
    "threshold",
    "architecture",
    "weights",
)


def same_file_tolerance(card: Card) -> float:
    """Give how far the outputs of one file may be apart on two machines."""
    assert card.proof is not None or card.precision == "fp32"
    if card.precision == "fp32" or card.proof is None:
        return numbers.TOLERANCES["fp32"]
    return card.proof.tolerance


def tie_bound(card: Card, reference: NDArray[np.float32], tolerance: float) -> float:
    """Give how far a logit may lie from its reference, for the decision to count as a tie."""
    relative = DOOR_TIE if card.input == "image" else 2 * tolerance
    return relative * max(1.0, float(np.abs(reference).max(initial=0.0)))


def card_level(expected: Card, found: Card) -> Level:
    """Compare what shapes an answer: permuted classes give wrong labels from right numbers."""
    if found.trained_size == expected.preprocessing.size:
        expected = resized(expected, found.preprocessing.size)
    different = tuple(n for n in CARD_FIELDS if getattr(expected, n) != getattr(found, n))
    figures: Figures = {"fields": len(CARD_FIELDS)}
    if different:
        figures["different"] = different
    return Level(
        level="card",
        against="run",
        passed=not different,
        rule="equal in " + ", ".join(CARD_FIELDS),
        summary=f"{len(CARD_FIELDS)} fields, "
        + (f"different in {', '.join(different)}" if different else "equal"),
        figures=figures,
        where=f"the card: {', '.join(different)}" if different else None,
    )


def numbers_level(
    against: str,
    card: Card,
    pairs: Sequence[tuple[Both, Both]],
    tolerance: float | None = None,
) -> Level:
    """Compare (reference, file's) outputs, both probabilities and logits."""
    worst = max(
        (
            numbers.compare(
                np.concatenate([reference[output] for reference, _ in pairs]),
                np.concatenate([found[output] for _, found in pairs]),
                card.precision,
                tolerance=tolerance,
            )
            for output in (0, 1)
        ),
        key=lambda difference: (difference.needed != difference.needed, difference.needed),
    )
    inputs = sum(len(reference[0]) for reference, _ in pairs)
    return Level(
        level="numbers",
        against=against,
        passed=worst.passed,
        rule=numbers.rule(worst.tolerance),
        summary=f"{inputs} inputs, off by {worst.max_abs:.1g}, allowed {worst.bound:.1g}",
        figures={
            "inputs": inputs,
            "max_difference": worst.max_abs,
            "mean_difference": worst.mean_abs,
            "p50_difference": worst.p50_abs,
            "p99_difference": worst.p99_abs,
            "cosine": worst.cosine,
            "tolerance": worst.tolerance,
            "needed_tolerance": worst.needed,
            "bound": worst.bound,
        },
    )


def decisions_level(
    against: str,
    card: Card,
    names: list[str],
    reference: Both,
    candidate: Both,
    bound: float,
    *,
    labels: Sequence[Label] = (),
) -> Level:
    """Compare the labels that outputs lead to, and count those that are right where known."""
    accepted = card.acceptance if against == "run" else None
    max_flips = accepted.max_flips if accepted else 0.0
    result = decisions.compare_decisions(
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
            figures[name] = float(decisions.right(outputs, labels, card).mean())
    flipped = f": {', '.join(result.flipped)}" if result.flipped else ""
    return Level(
        level="decisions",
        against=against,
        passed=result.passed,
        rule=decisions.rule(card, bound, max_flips),
        summary=f"{result.images} images, {result.flips} other labels{flipped} "
        f"(rate under {result.flip_rate_upper:.1%}), "
        f"probabilities within {result.max_probability_difference:.1g}",
        figures=figures,
    )


def pixels_level(
    against: str, difference: pixels.PixelDifference, rule: str, *, where: str | None
) -> Level:
    """Judge pixels that must be equal."""
    return Level(
        level="pixels",
        against=against,
        passed=difference.images > 0 and difference.different == 0,
        rule=rule,
        summary=_pixel_summary(difference),
        figures=msgspec.structs.asdict(difference),
        where=where if difference.different else None,
    )


def odd_kinds_level(preprocessing: Preprocessing) -> Level:
    """Compare our pixels of every odd kind of file with torchvision's."""
    different: list[str] = []
    stage = None
    kinds = list(odd_kinds())
    for name, data in kinds:
        expected = pixels.reference_stages(data, preprocessing).cropped
        try:
            found = preprocess(read_image(data, preprocessing), preprocessing)
            same = np.array_equal(found, expected)
        except ImageError:
            same = False
        if not same:
            different.append(name)
            stage = stage or f"{pixels.differing_stage(data, preprocessing)} ({name})"
    return Level(
        level="pixels",
        against="odd kinds",
        passed=not different,
        rule=pixels.RULE,
        summary=f"{len(kinds)} kinds of file, "
        + (f"different: {', '.join(different)}" if different else "equal"),
        figures={"kinds": len(kinds), "different": tuple(different)},
        where=stage,
    )


def door_level(card: Card, names: list[str], ours: Pixels, in_graph: Pixels) -> Level:
    """Compare the pixels that the graph of an `image` file makes with ours."""
    most = door_levels(card.preprocessing)
    difference = pixels.compare_pixels(names, ours, in_graph)
    return Level(
        level="pixels",
        against="graph's door",
        passed=difference.images > 0 and difference.max_levels <= most,
        rule=f"no value is off by more than {most} of 255 ({card.preprocessing.mode})",
        summary=_pixel_summary(difference),
        figures=msgspec.structs.asdict(difference),
        where="resize, in the graph" if difference.max_levels > most else None,
    )


def door_levels(preprocessing: Preprocessing) -> int:
    """Give how many levels the pixels of an `image` file's graph may be off by."""
    cut = preprocessing.resize_size - preprocessing.size
    # The crop is rounded to even: of one pixel too many it may cut all from one side.
    hidden = preprocessing.mode == "crop" and cut >= 2
    return DOOR_INSIDE if hidden else DOOR_BORDER


def _pixel_summary(difference: pixels.PixelDifference) -> str:
    if not difference.different:
        return f"{difference.images} images, equal"
    return (
        f"{difference.images} images, {difference.different} different, by up to "
        f"{difference.max_levels} of 255 in {difference.share_of_values:.2%} of the values"
    )
