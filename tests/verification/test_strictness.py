"""What a file is held to: its card can make the rules stricter, never wider."""

from __future__ import annotations

import msgspec
import pytest

from tests.runtime.test_card import some_card
from toolchain.runtime.card import Acceptance, Card, Precision, Proof
from toolchain.runtime.selftest import PROOF_TOLERANCES, same_file_tolerance
from toolchain.verification.levels.numbers import TOLERANCES
from toolchain.verification.strictness import held_card, precision_level, rounded_card


def card_with(tolerance: float, max_flips: float, precision: Precision = "int8") -> Card:
    accepted = Acceptance(
        images=100,
        accuracy_before=0.9,
        accuracy_after=0.9,
        p_value=1.0,
        max_drop=1.0,
        flips=0,
        max_flips=max_flips,
    )
    proof = Proof(formula="waves-1", logits=((0.0, 1.0),) * 4, tolerance=tolerance)
    return msgspec.structs.replace(
        some_card(), precision=precision, proof=proof, acceptance=accepted
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("tolerance", [1e9, 1.0, 0.06])
def test_a_wide_tolerance_in_the_card_is_not_used(precision: Precision, tolerance: float) -> None:
    held = held_card(card_with(tolerance, 1.0), precision)
    assert held.proof is not None
    assert held.proof.tolerance == PROOF_TOLERANCES[precision]
    expected = TOLERANCES["fp32"] if precision == "fp32" else PROOF_TOLERANCES[precision]
    assert same_file_tolerance(held) == expected


def test_a_narrow_tolerance_in_the_card_is_used() -> None:
    held = held_card(card_with(1e-4, 0.0), "int8")
    assert held.proof is not None
    assert held.proof.tolerance == same_file_tolerance(held) == 1e-4
    assert held.acceptance is not None
    assert held.acceptance.max_flips == 0


def test_flips_are_those_that_whoever_verifies_allows() -> None:
    for allowed in (0.02, 0.1):
        held = held_card(card_with(0.05, 1.0), "fp16", allowed)
        assert held.acceptance is not None
        assert held.acceptance.max_flips == allowed


def test_a_file_in_float32_may_change_no_label_whatever_its_card_says() -> None:
    assert held_card(card_with(0.05, 1.0), "fp32").acceptance is None


def test_a_card_that_names_another_precision_than_the_graph_has_fails() -> None:
    level = precision_level(card_with(0.05, 0.02), "fp32")
    assert level is not None
    assert (level.passed, level.summary) == (False, "the card says int8, the graph is fp32")
    assert precision_level(card_with(0.05, 0.02), "int8") is None


def test_on_a_provider_that_rounds_a_file_is_held_to_the_rules_of_int8() -> None:
    """Its labels may differ by the share that whoever verifies allows, its numbers by int8's."""
    held = rounded_card(held_card(card_with(1e-3, 0.0), "fp32"), 0.02)
    assert held.precision == "int8"
    assert held.proof is not None
    assert held.proof.tolerance == same_file_tolerance(held) == PROOF_TOLERANCES["int8"]
    assert held.acceptance is not None
    assert held.acceptance.max_flips == 0.02
