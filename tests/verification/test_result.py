"""The error of a verification that failed: the level, its rule, and where it begins."""

from __future__ import annotations

import pytest

from toolchain.errors import ParityError
from toolchain.verification.result import Level, Verification, failed, require_parity


def level(name: str, against: str, *, passed: bool = False, where: str | None = None) -> Level:
    return Level(
        level=name,
        against=against,
        passed=passed,
        rule=f"the rule of {name}",
        summary=f"figures of {name}",
        figures={},
        where=where,
    )


def verification(*levels: Level) -> Verification:
    return Verification(
        model="m.onnx",
        sha256="",
        provider="cpu",
        passed=all(one.passed for one in levels),
        levels=levels,
        versions={},
        seconds=1.0,
    )


def error_of(*levels: Level) -> ParityError:
    with pytest.raises(ParityError) as caught:
        require_parity(verification(*levels))
    return caught.value


def test_a_verification_that_passed_raises_nothing() -> None:
    require_parity(verification(level("numbers", "run", passed=True)))


def test_the_first_level_that_fell_short_is_named_with_its_figures_and_its_rule() -> None:
    right, first = level("card", "run", passed=True), level("numbers", "run")
    error = error_of(right, first, level("pixels", "run"))
    assert str(error) == "m.onnx: numbers against the run failed: figures of numbers"
    assert error.hint == "the rule is: the rule of numbers"


def test_the_hint_ends_with_where_it_begins() -> None:
    error = error_of(level("decisions", "run"), level("pixels", "run", where="resize (a.jpg)"))
    assert str(error.hint).endswith("; it begins at resize (a.jpg)")


def test_the_place_that_the_trained_model_found_comes_before_that_of_the_card() -> None:
    error = error_of(
        level("numbers", "card", where="softmax"),
        level("pixels", "references", where="decode, upright, resize or crop"),
        level("numbers", "run", where="layer conv1"),
    )
    assert str(error).startswith("m.onnx: numbers against the card failed")
    assert str(error.hint).endswith("; it begins at layer conv1")


def test_a_model_that_can_not_be_computed_has_the_error_in_its_figures() -> None:
    found = failed("numbers", "card", "it can't compute 4 images", where="the batch")
    assert not found.passed
    assert found.figures == {"error": "it can't compute 4 images"}
    assert str(error_of(found).hint).endswith("; it begins at the batch")
