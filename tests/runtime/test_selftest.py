"""The self test: generated inputs by a written formula, and the difference to the proof."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.runtime.test_predictor import CLASSES, with_card
from toolchain import Predictor
from toolchain.errors import ModelFileError, ParityError
from toolchain.runtime.card import Proof
from toolchain.runtime.selftest import generated_pixels, make_proof, proof_difference

PIXELS = generated_pixels(224)
POSITIONS = st.integers(min_value=0, max_value=223)


def by_formula(n: int, y: int, x: int, c: int) -> int:
    """Return a value by the formula of docs/card.md, written out for scalars."""
    return (x * (3 + n) + y * (5 + 2 * n) + (x * y) // 16 + 85 * c) % 256


def some_logits() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 5, (4, 3)).astype(np.float32)


@settings(deadline=None)
@given(st.integers(0, 3), POSITIONS, POSITIONS, st.integers(0, 2))
def test_generated_pixels_follow_the_written_formula(n: int, y: int, x: int, c: int) -> None:
    assert PIXELS[n, y, x, c] == by_formula(n, y, x, c)


def test_generated_pixels_never_change() -> None:
    # The proofs of existing model files hold the logits of these values.
    assert PIXELS[0, 0, :4, 0].tolist() == [0, 3, 6, 9]
    assert PIXELS[3, 100, 200].tolist() == [222, 51, 136]
    assert PIXELS[1, 223, 223].tolist() == [185, 14, 99]


@pytest.mark.parametrize("size", [1, 64, 225])
def test_generated_pixels_are_a_batch_of_four_rgb_images(size: int) -> None:
    pixels = generated_pixels(size)
    assert pixels.shape == (4, size, size, 3)
    assert pixels.dtype == np.uint8


def test_four_inputs_differ_from_each_other() -> None:
    means = [[np.abs(a.astype(int) - b).mean() for b in PIXELS] for a in PIXELS]
    assert all(means[i][j] > 20 for i in range(4) for j in range(4) if i != j)


def test_same_logits_have_no_difference_after_the_proof_was_stored() -> None:
    proof = make_proof(some_logits())
    stored = msgspec.json.decode(msgspec.json.encode(proof), type=Proof)
    assert proof_difference(stored, some_logits()) == 0


@pytest.mark.parametrize(("change", "passes"), [(1e-5, True), (0.1, False)])
def test_difference_is_that_of_the_changed_logit(change: float, passes: bool) -> None:
    proof = make_proof(some_logits())
    logits = some_logits()
    logits[2, 1] += change
    difference = proof_difference(proof, logits)
    assert difference == pytest.approx(change / np.abs(some_logits()).max(), rel=0.05)
    assert (difference <= proof.tolerance) == passes


def test_difference_is_absolute_where_all_logits_are_small() -> None:
    small = np.full((4, 3), 0.01, dtype=np.float32)
    assert proof_difference(make_proof(small), small + 0.5) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logit_that_is_no_number_never_passes(value: float) -> None:
    proof = make_proof(some_logits())
    broken = some_logits()
    broken[3, 2] = value
    assert not proof_difference(proof, broken) <= proof.tolerance


def test_proof_of_logits_that_are_not_finite_is_refused() -> None:
    broken = some_logits()
    broken[0, 0] = math.nan
    with pytest.raises(ParityError, match="not finite"):
        make_proof(broken)


def test_self_test_passes_on_the_file_as_exported(model: Path) -> None:
    with Predictor(model, self_test=True) as predictor:
        assert predictor.card.proof is not None


def test_self_test_fails_where_the_card_says_other_logits(model: Path, tmp_path: Path) -> None:
    with Predictor(model) as predictor:
        proof = predictor.card.proof
    assert proof is not None
    rows = ((proof.logits[0][0] + 1, *proof.logits[0][1:]), *proof.logits[1:])
    tampered = with_card(
        model, tmp_path / "model.onnx", proof=msgspec.structs.replace(proof, logits=rows)
    )
    with pytest.raises(ParityError, match="does not compute what its card says"):
        Predictor(tampered, self_test=True)


def test_self_test_fails_where_a_weight_was_changed(model: Path, tmp_path: Path) -> None:
    content = onnx.load(model)
    bias = next(w for w in content.graph.initializer if list(w.dims) == [len(CLASSES)])
    changed = numpy_helper.to_array(bias) + np.float32(0.5)
    bias.CopyFrom(numpy_helper.from_array(changed, bias.name))
    onnx.save(content, tmp_path / "model.onnx")
    with pytest.raises(ParityError, match="does not compute what its card says"):
        Predictor(tmp_path / "model.onnx", self_test=True)


def test_self_test_needs_a_proof(model: Path, tmp_path: Path) -> None:
    bare = with_card(model, tmp_path / "model.onnx", proof=None)
    with pytest.raises(ParityError, match="no proof"):
        Predictor(bare, self_test=True)


def test_self_test_fails_on_a_proof_of_another_shape(model: Path, tmp_path: Path) -> None:
    with Predictor(model) as predictor:
        proof = predictor.card.proof
    assert proof is not None
    fewer = tuple(row[:2] for row in proof.logits)
    tampered = with_card(
        model,
        tmp_path / "model.onnx",
        proof=msgspec.structs.replace(proof, logits=fewer, extremes=()),
    )
    with pytest.raises((ParityError, ModelFileError)):
        Predictor(tampered, self_test=True)
