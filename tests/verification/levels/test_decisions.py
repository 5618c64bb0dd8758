"""Level "decisions": labels that differ count, but for ties."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from tests.runtime.test_card import some_card
from toolchain.data.layouts import Label
from toolchain.runtime.card import Card, Task
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.verification.levels.decisions import Decisions, compare_decisions, correct

Rows = list[list[float]]
ONE_LABEL = msgspec.structs.replace(some_card(), threshold=None)


def softmax_outputs(logits: Rows) -> ModelOutputs:
    array = np.array(logits, dtype=np.float32)
    return ModelOutputs(np.exp(array) / np.exp(array).sum(1, keepdims=True), array)


def decided(reference: Rows, candidate: Rows, *, bound: float = 0.01) -> Decisions:
    names = [f"{i}.jpg" for i in range(len(reference))]
    sides = softmax_outputs(reference), softmax_outputs(candidate)
    return compare_decisions(names, *sides, card=ONE_LABEL, bound=bound)


def test_same_labels_pass() -> None:
    found = decided([[1, 2, 0], [3, 0, 0]], [[1, 2.5, 0], [2, 0, 0]])
    assert found.passed
    assert (found.images, found.flips, found.flipped) == (2, 0, ())
    assert found.max_probability_difference > 0.01


def test_another_label_fails_and_is_named() -> None:
    found = decided([[1, 2, 0], [3, 0, 0]], [[1, 2, 0], [0, 3, 0]])
    assert not found.passed
    assert (found.flips, found.flips_outside_margin, found.flipped) == (1, 1, ("1.jpg",))


@pytest.mark.parametrize(("lead", "passes"), [(0.019, True), (0.021, False)])
def test_a_flip_within_twice_the_bound_is_a_tie(lead: float, passes: bool) -> None:
    found = decided([[0, lead, -5]], [[0.001, 0, -5]])
    assert found.passed == passes
    assert (found.flips, found.flips_outside_margin) == (1, 0 if passes else 1)


def test_a_tie_counts_between_the_two_best_only() -> None:
    # The second and third are tied; the first leads by far in the reference, and still loses.
    assert not decided([[5, 0, 0.001]], [[-5, 0, 0.001]]).passed


@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_an_output_that_is_nan_fails(side: str) -> None:
    good, bad = [[1.0, 2.0]], [[1.0, math.nan]]
    assert not decided(*((bad, good) if side == "reference" else (good, bad))).passed


def test_logits_near_the_largest_float32_are_compared_without_a_warning() -> None:
    sides = [
        ModelOutputs(np.array([[0, 1]], np.float32), np.array([row], np.float32))
        for row in ([-3e38, 3e38], [3e38, -3e38])
    ]
    found = compare_decisions(["0.jpg"], *sides, card=ONE_LABEL, bound=2e38)
    assert (found.flips, found.passed) == (1, False)


def test_ten_of_many_images_with_another_label_are_named() -> None:
    found = decided([[0, 1]] * 30, [[1, 0]] * 30)
    assert found.flips == 30
    assert found.flipped == tuple(f"{i}.jpg" for i in range(10))


def test_overlap_counts_the_best_five_that_both_have() -> None:
    # Classes 0…4 lead in the reference; in the candidate 5 and 6 take the place of 3 and 4.
    reference, candidate = [9.0, 8, 7, 6, 5, 4, 3], [9.0, 8, 7, 1, 2, 6, 5]
    assert decided([reference], [reference]).top5_overlap == 1.0
    assert decided([reference], [candidate]).top5_overlap == pytest.approx(3 / 5)
    assert decided([reference] * 2, [reference, candidate]).top5_overlap == pytest.approx(4 / 5)


def test_overlap_of_fewer_than_five_classes_is_1() -> None:
    assert decided([[3, 2, 1]], [[1, 2, 3]]).top5_overlap == 1.0


@pytest.mark.parametrize(
    ("flips", "images", "bound"),
    # 1 - 0.05^(1/n) for none; for one in 29 the root of (1 - p)^29 + 29p(1 - p)^28 = 0.05.
    [(0, 1, 0.95), (0, 20, 0.1391), (0, 153, 0.0194), (0, 400, 0.0075), (1, 29, 0.1534)],
)
def test_rate_of_flips_is_bounded_by_the_number_of_images(
    flips: int, images: int, bound: float
) -> None:
    reference = [[0.0, 9.0]] * images
    found = decided(reference, [[9.0, 0.0]] * flips + reference[flips:])
    assert found.flip_rate_upper == pytest.approx(bound, abs=6e-5)


def test_ties_do_not_count_in_the_bound_of_the_rate() -> None:
    tie = decided([[0, 0.001]] * 20, [[0.001, 0]] * 20)
    assert tie.flips == 20
    assert tie.flip_rate_upper == pytest.approx(0.1391, abs=6e-5)


@pytest.mark.parametrize(("flips", "passes"), [(0, True), (2, True), (3, False)])
def test_a_lower_precision_may_flip_its_share_of_labels(flips: int, passes: bool) -> None:
    reference = [[0.0, 9.0]] * 100
    candidate = [[9.0, 0.0]] * flips + reference[flips:]
    names = [f"{i}.jpg" for i in range(100)]
    sides = softmax_outputs(reference), softmax_outputs(candidate)
    found = compare_decisions(names, *sides, card=ONE_LABEL, bound=0.01, max_flips=0.02)
    assert (found.allowed_flips, found.passed) == (2, passes)


def test_probabilities_are_compared_as_distributions() -> None:
    # 0.5, 0.5 against 0.9, 0.1: half of |0.4| + |0.4|.
    nine = math.log(9)
    found = decided([[0, 0], [0, 0]], [[nine, 0], [0, 0]])
    assert found.max_probability_difference == pytest.approx(0.4, abs=1e-6)
    assert found.mean_probability_distance == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        ("single-label", [0, 1], [False, True]),
        ("multi-label", [(1,), (0, 1)], [True, False]),
        ("multi-label", [(), (1,)], [False, True]),
    ],
)
def test_correct_is_the_label_or_the_whole_set(
    task: Task, labels: list[Label], expected: list[bool]
) -> None:
    card = msgspec.structs.replace(some_card(), task=task, threshold=None)
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8]], np.float32)
    outputs = ModelOutputs(probabilities, probabilities)
    assert correct(outputs, labels, card).tolist() == expected


def test_a_comparison_of_no_images_fails() -> None:
    nothing = np.zeros((0, 2), dtype=np.float32)
    for card in (ONE_LABEL, any_labels()):
        sides = ModelOutputs(nothing, nothing), ModelOutputs(nothing, nothing)
        assert not compare_decisions([], *sides, card=card, bound=0.01).passed


def any_labels(threshold: float | None = None, temperature: float = 1.0) -> Card:
    return msgspec.structs.replace(
        some_card(), task="multi-label", threshold=threshold, temperature=temperature
    )


def decided_sets(card: Card, reference: Rows, candidate: Rows) -> Decisions:
    def sigmoid_outputs(logits: Rows) -> ModelOutputs:
        array = np.array(logits, dtype=np.float32)
        return ModelOutputs(1 / (1 + np.exp(-array / np.float32(card.temperature))), array)

    names = [f"{i}.jpg" for i in range(len(reference))]
    sides = sigmoid_outputs(reference), sigmoid_outputs(candidate)
    return compare_decisions(names, *sides, card=card, bound=0.01)


def test_same_sets_of_labels_pass_whichever_class_leads() -> None:
    found = decided_sets(any_labels(), [[1, 2, -1], [-3, -2, -1]], [[2, 1, -1], [-1, -2, -3]])
    assert found.passed
    assert (found.flips, found.flips_outside_margin) == (0, 0)


def test_one_class_more_or_less_is_another_set() -> None:
    found = decided_sets(any_labels(), [[1, 1], [1, -1], [1, 1]], [[1, 1], [1, 1], [1, -1]])
    assert not found.passed
    assert (found.flips, found.flips_outside_margin) == (2, 2)
    assert found.flipped == ("1.jpg", "2.jpg")


@pytest.mark.parametrize(("logit", "passes"), [(0.009, True), (0.011, False)])
def test_a_class_within_the_bound_of_the_threshold_is_a_tie(logit: float, passes: bool) -> None:
    found = decided_sets(any_labels(), [[logit, 5]], [[-0.001, 5]])
    assert found.passed == passes
    assert (found.flips, found.flips_outside_margin) == (1, 0 if passes else 1)


def test_a_tie_in_one_class_excuses_no_other() -> None:
    assert not decided_sets(any_labels(), [[0.001, 5]], [[-0.001, -5]]).passed


@pytest.mark.parametrize(("logit", "passes"), [(2.7805, True), (2.79, False)])
def test_ties_lie_at_the_threshold_and_temperature_of_the_card(logit: float, passes: bool) -> None:
    # A probability of 0.8 at temperature 2 is a logit of 2 · ln 4 = 2.7726.
    card = any_labels(threshold=0.8, temperature=2.0)
    assert decided_sets(card, [[logit, 9]], [[2.77, 9]]).passed == passes


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_0_and_1_are_thresholds_too(threshold: float) -> None:
    assert decided_sets(any_labels(threshold), [[1, -1]], [[1, -1]]).passed


def test_a_class_whose_output_is_nan_fails() -> None:
    assert not decided_sets(any_labels(), [[1.0, 2.0]], [[1.0, math.nan]]).passed
