"""What a lower precision costs, counted again, and at which limits it is refused."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.runtime.tiny import SIDE, tiny_card
from toolchain.errors import RefusedError
from toolchain.exporters.precision.acceptance import AcceptanceCheck, require_accepted
from toolchain.exporters.precision.options import Limits
from toolchain.metrics.wording import acceptance_words
from toolchain.runtime.card import Acceptance
from toolchain.runtime.model_inputs import ModelOutputs


def acceptance(**changes: float | None) -> Acceptance:
    given = {
        "images": 100,
        "accuracy_before": 0.90,
        "accuracy_after": 0.89,
        "p_value": 1.0,
        "max_drop": 0.01,
        "flips": 2,
        "max_flips": 0.02,
        "speed_ratio": 1.5,
        "speed_provider": "cpu",
    }
    return Acceptance(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {},  # at both limits
        {"accuracy_after": 0.95},
        {"speed_ratio": None},  # no GPU at hand
        {"max_flips": 0.29, "flips": 29},  # in floating point 28.999…
    ],
)
def test_what_is_within_its_limits_is_accepted(changes: dict[str, float | None]) -> None:
    require_accepted(acceptance(**changes), "int8")


@pytest.mark.parametrize(
    "changes",
    [{"accuracy_after": 0.88}, {"flips": 3}, {"speed_ratio": 1.0}, {"speed_ratio": 0.5}],
)
def test_what_is_beyond_a_limit_is_refused_with_all_figures(
    changes: dict[str, float | None],
) -> None:
    found = acceptance(**changes)
    with pytest.raises(RefusedError) as caught:
        require_accepted(found, "fp16")
    message = str(caught.value)
    assert f"accuracy 90.0% → {found.accuracy_after:.1%}" in message
    assert f"{found.flips}.0% of 100 labels differ" in message
    assert f"speed {found.speed_ratio:.2f} × fp32" in message


@pytest.mark.parametrize("images", [1, 2, 5])
def test_too_few_images_to_show_any_difference_are_refused(images: int) -> None:
    given = {"images": images, "flips": 0, "accuracy_before": 0.0, "accuracy_after": 0.0}
    with pytest.raises(RefusedError, match=r"proves? nothing: up to \d\d\.\d %") as caught:
        require_accepted(acceptance(**given), "int8")
    assert "6 validation images or more" in str(caught.value.hint)
    require_accepted(acceptance(**given, max_flips=0.96), "int8")
    require_accepted(acceptance(**{**given, "images": 6}), "int8")


def test_acceptance_in_words_has_all_figures() -> None:
    words = acceptance_words(acceptance(p_value=0.0312))
    assert words == (
        "accuracy 90.0 % → 89.0 % (p = 0.031), 2 of 100 labels differ, "
        "at most 6.2 % of all (95 %), 1.50 × as fast as fp32 on 1 thread (cpu)"
    )
    kept = msgspec.structs.replace(acceptance(speed_ratio=None), kept_float=("conv1", "fc"))
    assert acceptance_words(kept).endswith("not timed, as no GPU is at hand; in float: conv1, fc")


def check(before: NDArray[np.float32], labels: list[int]) -> AcceptanceCheck:
    card = tiny_card(precision="int8")
    names = [str(number) for number in range(len(before))]
    pixels = np.zeros((len(before), SIDE, SIDE, 3), np.uint8)
    return AcceptanceCheck(names, pixels, labels, outputs_with(before), card, Limits())


def outputs_with(logits: NDArray[np.float32]) -> ModelOutputs:
    """Return the outputs of a model that computes these logits, the softmax of them included."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = np.asarray(powers / powers.sum(1, keepdims=True), np.float32)
    return ModelOutputs(probabilities, logits)


def test_accuracy_flips_and_mcnemar_are_those_of_a_recount() -> None:
    rng = np.random.default_rng(3)
    before = rng.normal(0, 2, (200, 3)).astype(np.float32)
    after = before + rng.normal(0, 1, (200, 3)).astype(np.float32)
    labels = [int(label) for label in rng.integers(0, 3, 200)]
    found = check(before, labels).measure(outputs_with(after))
    was, now = before.argmax(1) == labels, after.argmax(1) == labels
    assert (found.accuracy_before, found.accuracy_after) == (was.mean(), now.mean())
    assert found.flips == (before.argmax(1) != after.argmax(1)).sum() > 10
    lost, gained = int((was & ~now).sum()), int((now & ~was).sum())
    # McNemar's exact test by its definition: a fair coin for each image whose rightness changed.
    total = lost + gained
    as_uneven = [k for k in range(total + 1) if abs(2 * k - total) >= abs(lost - gained)]
    assert found.p_value == pytest.approx(
        sum(math.comb(total, k) for k in as_uneven) / 2**total, rel=1e-9
    )


def test_a_tie_in_float32_is_no_flip() -> None:
    before = np.array([[5.0, 5.0001, 0], [5.0, 5.1, 0]], np.float32)
    after = np.array([[5.2, 5.0, 0], [5.2, 5.0, 0]], np.float32)
    found = check(before, [0, 0]).measure(outputs_with(after))
    assert found.flips == 1
    assert (found.accuracy_before, found.accuracy_after) == (0.0, 1.0)


def test_outputs_that_are_nan_are_not_within_tolerance() -> None:
    before = np.array([[5.0, 1.0, 0]], np.float32)
    one = check(before, [0])
    for shift, passes in itertools.zip_longest(
        (0.0, 0.5, 20.0, np.nan), (True, True, False, False)
    ):
        after = before + np.float32(shift) * np.array([[1, 0, 0]], np.float32)
        assert one.within_tolerance(ModelOutputs(one.before.probabilities, after)) is passes
