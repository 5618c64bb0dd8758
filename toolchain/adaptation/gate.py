"""Whether an adaptation would help, by what can be known without labels, or with a few of them.

The mixture says how probable each class is for each image, and so how accurate labels are expected
to be. Resampled photographs say how far that can be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.adaptation.mixture import (
    Matrix,
    Mixture,
    Source,
    differences,
    directions,
    fit,
    fit_moved,
    source_classes,
)
from toolchain.display import percent
from toolchain.metrics.mcnemar import mcnemar_p

LEAST_IMAGES, LEAST_PER_CLASS = 100, 5
MOST_P = 0.01
LEAST_GAIN = 0.02
RESAMPLES = 30
LOW_QUANTILE = 0.25
LEAST_SEPARATION = 0.75
SURE = 0.05
"""p-value from which labelled photographs decide alone."""

Labels = NDArray[np.int64]


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """The labelled photographs of the target, with the model as it is and adapted."""

    images: int
    correct_before: int
    correct_after: int
    p: float
    """Of McNemar's exact test."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What speaks for an adaptation, and against it. Rates are 0…1."""

    images: int
    least_images: int
    p_same_camera: float
    """How likely so large a shift is if only the mix of the classes differs."""
    expected_before: float
    """Accuracy by the fitted mixture, of the model as it is."""
    expected_after: float
    expected_gain: float
    """Mean over resampled photographs."""
    expected_gain_low: float
    """Its lower quartile."""
    separation: float
    """How well the classes can be told apart at the target: 1 as well as in training, 0 not."""
    labels_changed: float
    """Share of the photographs that get another label."""
    shares: dict[str, float]
    """How frequent each class is at the target, by the fitted mixture."""
    labelled: Labelled | None


class Judgement(NamedTuple):
    """The shift of the logits, and what is known of it."""

    shift: Matrix
    """[classes], to be added to the logits."""
    figures: Figures
    refused: str | None
    """Why it is refused; None where it is accepted."""


def least_images(classes: int) -> int:
    """Return how many photographs are needed."""
    return max(LEAST_IMAGES, LEAST_PER_CLASS * classes)


def judge(
    source_logits: Matrix,
    source_labels: Labels,
    target_logits: Matrix,
    names: Sequence[str],
    labels: dict[int, int],
) -> Judgement:
    """Fit the classes of the source to the target's logits [images, classes], and judge the shift.

    `labels` are the known ones: index of the image → index of the class.
    """
    source = source_classes(differences(source_logits), source_labels, len(names))
    points = differences(target_logits)
    still, moved = fit(points, source, moved=False), fit_moved(points, source)
    shift = -directions(len(names)) @ moved.shift
    before, after = target_logits.argmax(axis=1), (target_logits + shift).argmax(axis=1)
    gains = _resampled_gains(points, source, before, after)
    figures = Figures(
        images=len(points),
        least_images=least_images(len(names)),
        p_same_camera=chi_square_p(2 * (moved.score - still.score), len(names) - 1),
        expected_before=_expected(moved, before),
        expected_after=_expected(moved, after),
        expected_gain=float(np.mean(gains)),
        expected_gain_low=float(np.quantile(gains, LOW_QUANTILE)),
        separation=_separation(source_logits, source, _expected(moved, after)),
        labels_changed=float((before != after).mean()),
        shares=dict(zip(names, map(float, moved.shares), strict=True)),
        labelled=_labelled(before, after, labels),
    )
    return Judgement(shift, figures, refusal(figures))


def refusal(figures: Figures) -> str | None:
    """Return why an adaptation is refused, in words; None where it is accepted."""
    known = figures.labelled
    if known is not None and known.correct_after < known.correct_before:
        return (
            f"of {known.images} labelled photographs {known.correct_before} are right now, and "
            f"{known.correct_after} would be"
        )
    if known is not None and known.correct_after > known.correct_before and known.p <= SURE:
        return None
    if figures.p_same_camera > MOST_P:
        return (
            "another mix of the classes explains the photographs as well as another camera "
            f"(p = {figures.p_same_camera:.2g}, at most {MOST_P:g} is needed)"
        )
    if figures.expected_gain < LEAST_GAIN:
        return (
            f"{100 * figures.expected_gain:.1f} points of accuracy are expected, "
            f"at least {100 * LEAST_GAIN:g} are needed"
        )
    if figures.expected_gain_low < 0:
        return (
            f"the {100 * figures.expected_gain:.1f} points of accuracy expected may be a loss of "
            f"{-100 * figures.expected_gain_low:.1f} (lower quartile of resampled photographs)"
        )
    if figures.separation < LEAST_SEPARATION:
        return (
            "the classes can't be told apart well enough in the photographs: "
            f"{percent(figures.separation)} as well as in training, at least "
            f"{percent(LEAST_SEPARATION)} are needed"
        )
    return None


def chi_square_p(value: float, degrees: int) -> float:
    """Return how likely a chi-square of so many degrees of freedom is at least `value`.

    >>> round(chi_square_p(6.635, 1), 4), round(chi_square_p(15.086, 5), 4)
    (0.01, 0.01)
    """
    half = max(0.0, value) / 2
    if half > 700:
        return 0.0
    odd = degrees % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    for order in range(1 if odd else 0, degrees, 2):
        exponent = order / 2
        total += math.exp(-half) * (half**exponent) / math.gamma(exponent + 1)
    return min(1.0, total)


def _resampled_gains(
    points: Matrix, source: Source, before: Labels, after: Labels
) -> NDArray[np.float64]:
    """Return the accuracy that is expected to be gained, by the mixtures of resampled points."""
    random = np.random.default_rng(0)
    gains = []
    for _ in range(RESAMPLES):
        chosen = random.integers(0, len(points), len(points))
        mixture = fit_moved(points[chosen], source)
        gains.append(_expected(mixture, after[chosen]) - _expected(mixture, before[chosen]))
    return np.array(gains)


def _expected(mixture: Mixture, labels: Labels) -> float:
    """Return the accuracy of labels by the mixture's probabilities of the classes."""
    return float(mixture.posterior[np.arange(len(labels)), labels].mean())


def _separation(source_logits: Matrix, source: Source, expected: float) -> float:
    """Return an expected accuracy, beyond chance, relative to that of the training images."""
    points = differences(source_logits)
    known = _expected(fit(points, source, moved=False), source_logits.argmax(axis=1))
    chance = 1 / len(source.shares)
    return max(0.0, expected - chance) / max(known - chance, 1e-6)


def _labelled(before: Labels, after: Labels, labels: dict[int, int]) -> Labelled | None:
    if not labels:
        return None
    images = np.array(list(labels), np.int64)
    truth = np.array(list(labels.values()), np.int64)
    right_before, right_after = before[images] == truth, after[images] == truth
    return Labelled(
        images=len(images),
        correct_before=int(right_before.sum()),
        correct_after=int(right_after.sum()),
        p=mcnemar_p(
            int((right_before & ~right_after).sum()), int((~right_before & right_after).sum())
        ),
    )
