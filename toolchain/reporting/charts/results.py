"""Charts of an evaluation: reliability, precision over recall, ROC, accuracy over coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolchain.metrics.intervals import wilson_interval
from toolchain.metrics.threshold_curves import (
    Flags,
    area_under_roc,
    average_precision,
    coverage_curve,
    precision_recall_curve,
    reliability_bins,
    roc_curve,
)
from toolchain.reporting.charts.svg import Chart, Drawing, linear_axis
from toolchain.reporting.reading.stored_evaluation import StoredEvaluation

MOST_LINES = 6
"""Classes with a line of their own in a chart."""
MOST_POINTS = 400
"""Points of a line: more can't be seen, and make the page large."""


class Figure(NamedTuple):
    """A chart with its legend and what it means."""

    title: str
    chart: Drawing
    legend: Sequence[tuple[str, str]]
    """(style, text) of each line."""
    caption: str


class Predictions(NamedTuple):
    """Probabilities and whether what they speak of is so, both flat."""

    confidence: NDArray[np.float64]
    right: Flags


def predictions_at(evaluation: StoredEvaluation, temperature: float) -> Predictions:
    """Return each image's most probable class; multi-label: each pair of image and class."""
    if evaluation.logits is None:
        return Predictions(evaluation.confidence, evaluation.right)
    probabilities = evaluation.probabilities(temperature)
    if evaluation.multi_label:
        return Predictions(probabilities.ravel(), evaluation.truth.ravel())
    right = probabilities.argmax(axis=1) == evaluation.truth.argmax(axis=1)
    return Predictions(probabilities.max(axis=1), right)


def reliability_figure(evaluation: StoredEvaluation) -> Figure | None:
    """Return how often predictions of each probability are right, before and after temperature.

    None for multi-label without logits, where only the predicted classes have a probability.
    """
    if evaluation.multi_label and evaluation.logits is None:
        return None
    temperature = evaluation.temperature
    chart = Chart(
        linear_axis(0, 1, "probability", unit="%"),
        linear_axis(0, 1, "right", unit="%"),
        "share of right predictions by their probability",
    )
    chart.line([0, 1], [0, 1], "ideal")
    legend = [("accent", "as shipped")]
    if evaluation.logits is not None and temperature != 1:
        before = reliability_bins(*predictions_at(evaluation, 1.0))
        chart.line([b.confidence for b in before], [b.right / b.images for b in before], "quiet")
        chart.dots([b.confidence for b in before], [b.right / b.images for b in before], "quiet")
        legend = [
            ("quiet", "before the temperature"),
            ("accent", f"after it, T = {temperature:.2f}"),
        ]
    after = reliability_bins(*predictions_at(evaluation, temperature))
    for one in after:
        chart.span(one.confidence, *wilson_interval(one.right, one.images), "accent")
    chart.line([b.confidence for b in after], [b.right / b.images for b in after], "accent")
    chart.dots([b.confidence for b in after], [b.right / b.images for b in after], "accent")
    return Figure(
        "Reliability",
        chart.svg(),
        [*legend, ("ideal", "ideal")],
        "How often predictions of each probability are right: on the diagonal the probabilities "
        "can be believed, below it they are too sure. Upright lines are 95 % intervals.",
    )


def coverage_figure(evaluation: StoredEvaluation) -> Figure | None:
    """Return the accuracy where the least certain images are handed to a person; else None."""
    if evaluation.multi_label and evaluation.logits is None:
        return None
    coverage, accuracy = coverage_curve(evaluation.confidence, evaluation.right)
    low = max(0.0, np.floor((float(accuracy[len(accuracy) // 20 :].min()) - 0.02) * 20) / 20)
    chart = Chart(
        linear_axis(0, 1, "share of images that are answered", unit="%"),
        linear_axis(min(low, 0.9), 1, "accuracy", unit="%"),
        "accuracy over coverage",
    )
    chart.line(*_thinned(coverage, accuracy), "accent")
    return Figure(
        "Accuracy over coverage",
        chart.svg(),
        [("accent", "accuracy of the answered images")],
        "The accuracy that remains where the least certain images are left to a person: from right "
        "(all are answered) to left (only the surest).",
    )


def threshold_figures(evaluation: StoredEvaluation) -> list[Figure]:
    """Return ROC and precision over recall, for two classes and for multi-label; else none."""
    lines = _scored_classes(evaluation)
    if not lines:
        return []
    roc = Chart(
        linear_axis(0, 1, "false alarms: share of the others", unit="%"),
        linear_axis(0, 1, "found", unit="%"),
        "ROC curve",
    )
    roc.line([0, 1], [0, 1], "ideal")
    precision = Chart(
        linear_axis(0, 1, "recall: share that is found", unit="%"),
        linear_axis(0, 1, "precision", unit="%"),
        "precision over recall",
    )
    roc_legend, precision_legend = [], []
    for number, (name, scores, truth) in enumerate(lines):
        style = f"line-{number}"
        roc.line(*_thinned(*roc_curve(scores, truth)), style)
        precision.line(*_thinned(*precision_recall_curve(scores, truth)), style)
        roc_legend.append((style, f"{name}  {area_under_roc(scores, truth):.3f}"))
        precision_legend.append((style, f"{name}  {average_precision(scores, truth):.3f}"))
    return [
        Figure(
            "ROC",
            roc.svg(),
            roc_legend,
            "For every threshold: what is found of a class against false alarms. The figure is the "
            "area under the curve: 1 is best, 0.5 is guessing (the diagonal).",
        ),
        Figure(
            "Precision over recall",
            precision.svg(),
            precision_legend,
            "For every threshold: how many of the found images are right against how many are "
            "found. The figure is the average precision, 1 is best.",
        ),
    ]


def _scored_classes(
    evaluation: StoredEvaluation,
) -> list[tuple[str, NDArray[np.float64], Flags]]:
    """Return (class, scores, truth) of each class with a line: those that are hardest, in order."""
    if evaluation.multi_label:
        if evaluation.logits is None:
            return []
        scores, wanted = evaluation.logits.astype(np.float64), range(len(evaluation.classes))
    elif len(evaluation.classes) == 2:
        scores, wanted = _two_class_scores(evaluation), range(2)
    else:
        return []
    truth = evaluation.truth
    measurable = [k for k in wanted if truth[:, k].any() and not truth[:, k].all()]
    if not evaluation.multi_label and measurable:
        return [(evaluation.classes[k], scores[:, k], truth[:, k]) for k in measurable]
    hardest = sorted(measurable, key=lambda k: area_under_roc(scores[:, k], truth[:, k]))
    chosen = sorted(hardest[:MOST_LINES])
    return [(evaluation.classes[k], scores[:, k], truth[:, k]) for k in chosen]


def _two_class_scores(evaluation: StoredEvaluation) -> NDArray[np.float64]:
    """Return how much speaks for each of two classes, float64 [images, 2]."""
    if evaluation.logits is not None:
        margin = evaluation.logits[:, 1].astype(np.float64) - evaluation.logits[:, 0]
    else:
        for_second = evaluation.predicted[:, 1]
        margin = np.where(for_second, evaluation.confidence, 1 - evaluation.confidence)
    return np.stack([-margin, margin], axis=1)


def _thinned(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Return at most MOST_POINTS points of a curve, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(xs) - 1, MOST_POINTS).round().astype(np.int64))
    return xs[chosen].tolist(), ys[chosen].tolist()
