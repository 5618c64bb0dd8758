"""The temperature of an int8 file: its own where that helps, and then in its graph."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from tests.runtime.test_card import some_card
from tests.verification.planting import TEMPERATURE, ExportedRun
from toolchain.exporters.precision.temperature import own_temperature, with_temperature
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import generated_pixels
from toolchain.verification.levels.probabilities import expected_probabilities
from toolchain.verification.levels.temperature import temperature_reason


def confident(images: int, scale: float) -> tuple[np.ndarray, list[int]]:
    """Return logits that are `scale` times as large as they should be, and labels."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (images, 3))
    right = expected_probabilities(logits, 1.0, "single-label")
    labels = [int(rng.choice(3, p=row)) for row in right]
    return (logits * scale).astype(np.float32), labels


def test_logits_that_are_too_large_get_a_temperature_of_their_own() -> None:
    logits, labels = confident(400, 2.5)
    card = msgspec.structs.replace(some_card(), temperature=1.0)
    own = own_temperature(logits, labels, card)
    assert 2.0 < own < 3.1
    held = msgspec.structs.replace(card, precision="int8", temperature=own)
    assert temperature_reason(card, held, ModelOutputs(logits, logits), labels) is None
    far = msgspec.structs.replace(held, temperature=0.3)
    assert "raises the loss" in str(
        temperature_reason(card, far, ModelOutputs(logits, logits), labels)
    )


@pytest.mark.parametrize("images", [2, 6, 400])
def test_the_runs_temperature_stays_where_another_does_not_help(images: int) -> None:
    logits, labels = confident(images, 1.0)
    card = msgspec.structs.replace(some_card(), temperature=1.0)
    assert own_temperature(logits, labels, card) == 1.0


def test_multi_label_with_a_threshold_of_its_own_keeps_the_runs_temperature() -> None:
    logits, _ = confident(60, 2.5)
    labels = [(0, 1)] * 60
    card = msgspec.structs.replace(some_card(), temperature=1.3, task="multi-label", threshold=0.7)
    assert own_temperature(logits, labels, card) == 1.3


def test_the_graph_divides_by_the_new_temperature(
    exported_run: ExportedRun, tmp_path: Path
) -> None:
    model = onnx.load(exported_run.file)
    path = tmp_path / "model.onnx"
    path.write_bytes(with_temperature(model, 2.5).SerializeToString())
    assert TEMPERATURE != 2.5
    probabilities, logits = Predictor(path, cache=False).run(generated_pixels(64))
    expected = expected_probabilities(logits.astype(np.float64), 2.5, "single-label")
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    del model.graph.node[:]
    model.CopyFrom(onnx.load(exported_run.file))
    [softmax] = [node for node in model.graph.node if node.op_type == "Softmax"]
    softmax.input[0] = "logits"  # as in a graph whose run has the temperature 1
    path.write_bytes(with_temperature(model, 2.5).SerializeToString())
    probabilities, _ = Predictor(path, cache=False).run(generated_pixels(64))
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
