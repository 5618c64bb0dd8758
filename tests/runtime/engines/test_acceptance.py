"""An engine is held to what a model file has to answer: its card and the images beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.runtime.engines.files import answer, model_with_references, proven_card
from toolchain.runtime.engines.acceptance import LEAST_IMAGES, references_of, refusal
from toolchain.runtime.selftest import INPUT_NAMES
from toolchain.runtime.stored_outputs import references_file


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_with_references(tmp_path / "model.onnx", images=8)


def changed(change: Any) -> Any:
    """Return an engine whose logits are changed."""

    def run(pixels: Any) -> Any:
        probabilities, logits = answer(pixels)
        return change(probabilities, logits)

    return run


def test_references_are_the_images_beside_the_file_and_the_inputs_of_its_card(
    model: Path,
) -> None:
    found = references_of(model, proven_card())
    assert found is not None
    assert (found.images, len(found.pixels)) == (8, 8 + len(INPUT_NAMES))
    assert str(found) == "8 images and 7 generated inputs"
    assert refusal(found, answer) is None


def test_a_file_alone_is_held_to_its_card(model: Path) -> None:
    references_file(model).unlink()
    found = references_of(model, proven_card())
    assert found is not None
    assert str(found) == "7 generated inputs"
    assert refusal(found, answer) is None
    assert references_of(model, msgspec.structs.replace(proven_card(), proof=None)) is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", None])
def test_references_that_are_damaged_or_of_another_file_are_passed_over(
    content: bytes | None, model: Path
) -> None:
    if content is None:
        card = msgspec.structs.replace(proven_card(), classes=("a", "b", "c"))
    else:
        references_file(model).write_bytes(content)
        card = proven_card()
    found = references_of(model, card)
    assert found is not None
    assert found.images == 0


def test_logits_that_are_off_are_refused_with_both_figures(model: Path) -> None:
    found = references_of(model, proven_card())
    assert found is not None
    assert refusal(found, changed(lambda p, z: (p, z + np.float32(1e-5)))) is None
    reason = refusal(found, changed(lambda p, z: (p, z + np.float32(0.01))))
    assert reason is not None
    assert "off by 0.0" in reason
    assert "5e-05 is accepted" in reason


def test_outputs_that_are_no_numbers_are_refused(model: Path) -> None:
    found = references_of(model, proven_card())
    assert found is not None
    assert refusal(found, changed(lambda p, z: (p, z * np.float32("nan")))) is not None
    assert refusal(found, changed(lambda p, z: (p[:, :2], z[:, :2]))) is not None


def test_another_label_of_an_image_is_refused(model: Path) -> None:
    found = references_of(model, proven_card())
    assert found is not None
    reason = refusal(found, changed(lambda p, z: (p[:, ::-1], z)))
    assert reason is not None
    assert "images get another label" in reason


def test_an_engine_that_rounds_is_held_to_int8_and_needs_images(model: Path) -> None:
    found = references_of(model, proven_card())
    assert found is not None
    slightly = changed(lambda p, z: (p, z + np.float32(0.01)))
    assert refusal(found, slightly) is not None
    assert refusal(found, slightly, rounded=True) is None
    assert refusal(found, changed(lambda p, z: (p, z + 1)), rounded=True) is not None
    model_with_references(model, images=LEAST_IMAGES - 1)
    few = references_of(model, proven_card())
    assert few is not None
    assert refusal(few, slightly) is not None
    reason = refusal(few, slightly, rounded=True)
    assert reason == "5 reference images can't show what it costs"
