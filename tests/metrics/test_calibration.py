"""Temperature scaling and the calibration error, on outputs whose calibration is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolchain.metrics.calibration import calibration_error, fit_temperature
from toolchain.metrics.outputs import Outputs
from toolchain.networks.torchvision_import import import_torchvision


def scaled_by(factor: float, *, several: bool, images: int = 6000, seed: int = 0) -> Outputs:
    """Return outputs of a calibrated model, its logits multiplied by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=(images, 4))
    labels: Any
    if several:
        labels = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    else:  # argmax of logits + Gumbel noise is a draw from their softmax
        labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return Outputs((logits * factor).astype(np.float32), labels)


def outputs_of(rows: list[list[float]], labels: list[Any]) -> Outputs:
    several = isinstance(labels[0], list)
    return Outputs(np.array(rows, np.float32), np.array(labels, bool if several else np.int64))


def loss_at(outputs: Outputs, temperature: float) -> float:
    return Outputs(outputs.logits / np.float32(temperature), outputs.labels).loss


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found_again(factor: float, several: bool) -> None:
    temperature = fit_temperature(scaled_by(factor, several=several))
    assert temperature == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("several", [False, True])
def test_no_neighbouring_temperature_has_a_lower_loss(several: bool) -> None:
    outputs = scaled_by(3.0, several=several, images=200)
    best = fit_temperature(outputs)
    for other in (0.98, 1.02):
        assert loss_at(outputs, best * other) > loss_at(outputs, best)


@pytest.mark.parametrize("several", [False, True])
def test_the_error_of_an_overconfident_model_falls_and_no_prediction_changes(
    several: bool,
) -> None:
    outputs = scaled_by(3.0, several=several)
    temperature = fit_temperature(outputs)
    assert calibration_error(outputs, 1.0) > 0.1
    assert calibration_error(outputs, temperature) < 0.02
    calibrated = Outputs(outputs.logits / np.float32(temperature), outputs.labels)
    assert calibrated.accuracy == outputs.accuracy


@pytest.mark.parametrize("several", [False, True])
def test_the_order_of_images_and_classes_does_not_matter(several: bool) -> None:
    outputs = scaled_by(3.0, several=several, images=300)
    rng = np.random.default_rng(1)
    images, classes = rng.permutation(300), rng.permutation(4)
    labels = outputs.labels[images]
    labels = labels[:, classes] if several else classes.argsort()[labels]
    shuffled = Outputs(np.ascontiguousarray(outputs.logits[images][:, classes]), labels)
    assert fit_temperature(shuffled) == fit_temperature(outputs)
    assert calibration_error(shuffled, 1.0) == pytest.approx(calibration_error(outputs, 1.0))


@pytest.mark.parametrize(
    "outputs",
    [
        outputs_of([[9, 0], [0, 9], [3, 1]], [0, 1, 0]),
        outputs_of([[9, -9], [-2, 3]], [[1, 0], [0, 1]]),
        outputs_of([[0, 0], [5, 5]], [0, 1]),
        outputs_of([[0, 0]], [[1, 0]]),
        outputs_of([[1, 0], [float("nan"), 0]], [0, 0]),
        outputs_of([[1, 0], [float("inf"), 0]], [1, 1]),
    ],
    ids=["all right", "all right, several", "equal", "zero, several", "not a number", "infinite"],
)
def test_the_temperature_is_1_where_no_best_one_exists(outputs: Outputs) -> None:
    assert fit_temperature(outputs) == 1.0


@pytest.mark.parametrize(
    "outputs",
    [outputs_of([[9, 0], [0, 9]], [1, 0]), outputs_of([[9, -9], [-2, 3]], [[0, 1], [1, 0]])],
    ids=["single", "several"],
)
def test_only_wrong_predictions_give_the_highest_temperature(outputs: Outputs) -> None:
    assert fit_temperature(outputs) == 20.0


def test_tiny_logits_give_the_lowest_temperature() -> None:
    outputs = scaled_by(1e-4, several=False, images=500)
    assert outputs.accuracy < 1
    assert fit_temperature(outputs) == 0.05


def test_huge_logits_do_not_overflow() -> None:
    outputs = outputs_of([[1e30, 0], [0, 1e30], [1e30, 0]], [0, 1, 1])
    assert fit_temperature(outputs) == 20.0


def test_the_error_is_the_gap_between_confidence_and_accuracy() -> None:
    # Four predictions at 90 %, half of them right; two at 60 %, both right.
    at_90, at_60 = [np.log(9), 0.0], [np.log(1.5), 0.0]
    outputs = outputs_of([at_90] * 4 + [at_60] * 2, [0, 0, 1, 1, 0, 0])
    assert calibration_error(outputs, 1.0) == pytest.approx((4 * 0.4 + 2 * 0.4) / 6, abs=1e-6)


def test_the_multi_label_error_is_over_all_pairs_of_image_and_class() -> None:
    # The image has no class: two are predicted at 90 %, two at 10 %.
    outputs = outputs_of([[np.log(9), np.log(9), -np.log(9), -np.log(9)]], [[0, 0, 0, 0]])
    assert calibration_error(outputs, 1.0) == pytest.approx(0.5)


def test_the_error_agrees_with_torchmetrics() -> None:
    import_torchvision()
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    outputs = scaled_by(1.2, several=False, images=80)  # so few that gaps of either sign appear
    probabilities = torch.from_numpy(outputs.probabilities(1.0))
    expected = multiclass_calibration_error(probabilities, torch.from_numpy(outputs.labels), 4)
    assert calibration_error(outputs, 1.0) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("label", [0, 1])
def test_the_error_of_a_certain_prediction_is_0_or_1(label: int) -> None:
    assert calibration_error(outputs_of([[200, 0]], [label]), 1.0) == label
