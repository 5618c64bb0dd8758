"""Curves over all thresholds, against counting and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from toolchain.metrics.calibration import calibration_error
from toolchain.metrics.outputs import Outputs
from toolchain.metrics.threshold_curves import (
    area_under_roc,
    average_precision,
    coverage_curve,
    precision_recall_curve,
    reliability_bins,
    roc_curve,
)
from toolchain.networks.torchvision_import import import_torchvision

Scored = tuple[NDArray[np.float64], NDArray[np.bool_]]


@pytest.fixture(params=[0, 1])
def scored(request: pytest.FixtureRequest) -> Scored:
    """Scores with ties, and truth that they partly know."""
    rng = np.random.default_rng(request.param)
    truth = rng.random(200) < 0.3
    return np.round(truth * 0.5 + rng.normal(0, 0.5, 200), 1), truth


def test_areas_are_those_of_torchmetrics(scored: Scored) -> None:
    import_torchvision()  # before torchmetrics, which fails in some environments otherwise
    from torchmetrics.functional.classification import binary_auroc, binary_average_precision

    scores, truth = scored
    ranked = torch.from_numpy(1 / (1 + np.exp(-scores)))
    target = torch.from_numpy(truth).long()
    assert area_under_roc(scores, truth) == pytest.approx(float(binary_auroc(ranked, target)))
    expected = float(binary_average_precision(ranked, target))
    assert average_precision(scores, truth) == pytest.approx(expected, abs=1e-6)


def test_curves_have_one_point_for_equal_scores() -> None:
    scores, truth = np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])
    false_rate, true_rate = roc_curve(scores, truth)
    assert (false_rate.tolist(), true_rate.tolist()) == ([0, 0, 0.5, 1], [0, 0.5, 1, 1])
    recall, precision = precision_recall_curve(scores, truth)
    assert (recall.tolist(), precision.tolist()) == ([0.5, 1, 1], [1, 2 / 3, 0.5])


def test_the_accuracy_of_all_images_ends_the_coverage() -> None:
    coverage, accuracy = coverage_curve(
        np.array([0.9, 0.6, 0.6, 0.5]), np.array([True, False, True, False])
    )
    assert coverage.tolist() == [0.25, 0.75, 1]
    assert accuracy.tolist() == [1, pytest.approx(2 / 3), 0.5]


def test_reliability_bins_hold_the_calibration_error() -> None:
    rng = np.random.default_rng(0)
    outputs = Outputs(rng.normal(0, 2, (300, 4)).astype(np.float32), rng.integers(0, 4, 300))
    probabilities = outputs.probabilities(1.0).astype(np.float64)
    right = probabilities.argmax(axis=1) == outputs.labels
    bins = reliability_bins(probabilities.max(axis=1), right, bins=15)
    gaps = sum(abs(one.right - one.confidence * one.images) for one in bins)
    assert gaps / 300 == pytest.approx(calibration_error(outputs, 1.0), abs=1e-6)
    assert sum(one.images for one in bins) == 300
