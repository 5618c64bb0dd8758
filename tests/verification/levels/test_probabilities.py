"""From logits to probabilities: a file's own two outputs show which stage between them is wrong."""

from __future__ import annotations

import math
import re

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.runtime.test_card import some_card
from toolchain.runtime.card import Card, Task
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.verification.levels.probabilities import (
    expected_probabilities,
    wrong_probability_stage,
)

LOGITS = np.random.default_rng(0).normal(0, 5, (6, 4))


def card_of(task: Task, temperature: float = 1.7) -> Card:
    return msgspec.structs.replace(some_card(), task=task, temperature=temperature)


def where(card: Card, probabilities: NDArray[np.float64]) -> str | None:
    outputs = ModelOutputs(probabilities.astype(np.float32), LOGITS.astype(np.float32))
    return wrong_probability_stage(card, outputs)


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_probabilities_that_follow_from_the_logits_have_no_wrong_stage(task: Task) -> None:
    assert where(card_of(task), expected_probabilities(LOGITS, 1.7, task)) is None


def test_expected_probabilities_are_softmax_and_sigmoid() -> None:
    logits = np.array([[math.log(3), 0.0]])
    np.testing.assert_allclose(expected_probabilities(logits, 1.0, "single-label"), [[0.75, 0.25]])
    np.testing.assert_allclose(expected_probabilities(logits, 1.0, "multi-label"), [[0.75, 0.5]])
    halved = expected_probabilities(2 * logits, 2.0, "single-label")
    np.testing.assert_allclose(halved, [[0.75, 0.25]])
    assert np.isfinite(expected_probabilities(np.array([[1e6, -1e6]]), 1.0, "multi-label")).all()


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
@pytest.mark.parametrize("used", [1.0, 3.4, 0.5])
def test_another_temperature_is_named_and_measured(task: Task, used: float) -> None:
    found = where(card_of(task), expected_probabilities(LOGITS, used, task))
    assert found is not None
    assert re.match(rf"temperature \(Div\): {used:g} instead of 1\.7, .* off by 0\.\d+", found)


def test_a_softmax_that_is_applied_twice_is_found() -> None:
    once = expected_probabilities(LOGITS, 1.7, "single-label")
    found = where(card_of("single-label"), expected_probabilities(once, 1.0, "single-label"))
    assert found is not None
    assert found.startswith("softmax (Softmax): ")
    assert found.endswith(", it is applied twice")


def test_sigmoid_and_softmax_in_place_of_each_other_are_found() -> None:
    sigmoid, softmax = (
        expected_probabilities(LOGITS, 1.7, t) for t in ("multi-label", "single-label")
    )
    assert str(where(card_of("single-label"), sigmoid)).startswith("softmax (Softmax): ")
    assert str(where(card_of("multi-label"), softmax)).startswith("sigmoid (Sigmoid): ")


def test_probabilities_that_are_nan_are_the_fault_of_the_softmax() -> None:
    found = where(card_of("single-label"), LOGITS * math.nan)
    assert str(found).startswith("softmax (Softmax): ")


def test_logits_that_are_nan_are_the_fault_of_an_earlier_stage() -> None:
    nothing = (LOGITS * math.nan).astype(np.float32)
    outputs = ModelOutputs(nothing, nothing)
    assert wrong_probability_stage(card_of("single-label"), outputs) is None
