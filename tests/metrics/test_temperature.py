"""A temperature is used where it helps with images that it was not fitted on."""

from __future__ import annotations

import pytest

from tests.metrics.test_calibration import outputs_of, scaled_by
from toolchain.metrics.calibration import calibration_error, fit_temperature
from toolchain.metrics.outputs import Outputs
from toolchain.metrics.temperature import choose_temperature


@pytest.mark.parametrize("several", [False, True])
def test_a_temperature_that_helps_is_the_fitted_one(several: bool) -> None:
    outputs = scaled_by(3.0, several=several, images=120)
    chosen = choose_temperature(outputs)
    assert chosen.reason is None
    assert chosen.value == fit_temperature(outputs)
    assert chosen.error_before == calibration_error(outputs, 1.0)
    assert chosen.error_after == calibration_error(outputs, chosen.value) < chosen.error_before


def test_a_calibrated_model_gets_none() -> None:
    for seed in range(8):
        chosen = choose_temperature(scaled_by(1.0, several=False, images=40, seed=seed))
        assert chosen.value == 1.0
        assert chosen.error_after == chosen.error_before


def test_the_error_never_rises_and_no_limit_is_used() -> None:
    for seed in range(8):
        for images in (1, 3, 6, 9, 15):
            chosen = choose_temperature(
                scaled_by(1.3, several=False, images=images, seed=seed + images)
            )
            assert chosen.error_after <= chosen.error_before
            assert 0.05 < chosen.value < 20
            assert chosen.reason or chosen.value == 1.0 or images > 5


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (outputs_of([[9.0, 0.0]], [1]), "1 image is too few to fit one"),
        (outputs_of([[9.0, 0.0]] * 5, [1] * 5), "5 images are too few to fit one"),
        (outputs_of([[9.0, 0.0]] * 8, [0] * 8), "all 8 images are right, which shows none"),
        (outputs_of([[9.0, 0.0]] * 8, [1] * 8), "no value fits these images"),
        (
            outputs_of([[9.0, 0.0]] * 7 + [[1.0, 0.0]], [0] * 7 + [1]),
            "8 images do not show that one helps",
        ),
    ],
)
def test_the_reason_says_why_there_is_none(outputs: Outputs, reason: str) -> None:
    chosen = choose_temperature(outputs)
    assert (chosen.value, chosen.reason) == (1.0, reason)


def test_of_many_images_it_takes_few_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = []

    def counted(outputs: Outputs) -> float:
        fits.append(len(outputs.labels))
        return fit_temperature(outputs)

    monkeypatch.setattr("toolchain.metrics.temperature.fit_temperature", counted)
    choose_temperature(scaled_by(2.0, several=False, images=3000))
    assert fits == [3000, 1500, 1500]
