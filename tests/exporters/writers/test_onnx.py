"""The ONNX file of a real run: what other programs read in it, and what it must not contain."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from tests.conftest import ROOT
from tests.made_once import session_folder
from toolchain import Predictor
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.card import CARD_KEY
from toolchain.runtime.selftest import generated_pixels


@pytest.fixture(scope="module")
def content(model: Path) -> onnx.ModelProto:
    return onnx.load(model)


def traces(*folders: Path) -> list[bytes]:
    """Return strings that a file would contain if it named paths of the machine it was made on."""
    packages = sysconfig.get_paths()["purelib"]
    places = (ROOT, Path.home(), packages, sysconfig.get_paths()["stdlib"], *folders)
    words = ("site-packages", "dist-packages", "Traceback", ".py", "/tmp/", "/home/")
    return [str(place).encode() for place in places] + [word.encode() for word in words]


def test_one_file_holds_all_weights(model: Path, content: onnx.ModelProto) -> None:
    assert not any(t.data_location == TensorProto.EXTERNAL for t in content.graph.initializer)
    assert 44_000_000 < model.stat().st_size < 46_000_000  # 11.18 million float32
    names = {path.name for path in model.parent.iterdir()}
    assert {n for n in names if "onnx" in n} == {
        "model.onnx",
        "model.onnx.features.npz",
        "model.onnx.parity.json",
        "model.onnx.references.npz",
    }


def test_file_is_valid_and_its_versions_suit_older_runtimes(content: onnx.ModelProto) -> None:
    onnx.checker.check_model(content, full_check=True)
    assert [(entry.domain, entry.version) for entry in content.opset_import] == [("", 18)]
    assert content.ir_version == 8


def test_inputs_and_outputs_have_their_names_types_and_shapes(model: Path) -> None:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = [(node.name, node.type, node.shape) for node in session.get_inputs()]
    assert inputs == [("pixels", "tensor(uint8)", ["batch", 64, 64, 3])]
    assert [(node.name, node.type, node.shape) for node in session.get_outputs()] == [
        ("probabilities", "tensor(float)", ["batch", 3]),
        ("logits", "tensor(float)", ["batch", 3]),
    ]


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
def test_an_image_has_the_same_logits_in_any_batch(model: Path, batch: int) -> None:
    pixels = np.resize(generated_pixels(64), (batch, 64, 64, 3))
    with Predictor(model) as predictor:
        alone = [predictor.run(image[None])[1][0] for image in pixels[:4]]
        _, together = predictor.run(pixels)
    assert together.shape == (batch, 3)
    np.testing.assert_allclose(together, np.resize(alone, (batch, 3)), rtol=1e-4, atol=1e-4)


def test_card_is_that_of_the_run_completed_with_what_the_file_is(
    model: Path, run_folder: Path
) -> None:
    of_run = msgspec.to_builtins(RunFolder(run_folder).read_card())
    with Predictor(model) as predictor:
        card = msgspec.to_builtins(predictor.card)
    changed = {key for key in card if card[key] != of_run[key]}
    assert changed - {"created"} == {
        "format",
        "opset",
        "ir_version",
        "lowest_onnxruntime",
        "proof",
        "versions",
    }
    assert (card["format"], card["opset"], card["lowest_onnxruntime"]) == ("onnx", 18, "1.15")
    assert np.shape(card["proof"]["logits"]) == (4, 3)
    assert card["versions"].items() >= of_run["versions"].items()


def test_any_program_can_read_the_card_as_json(content: onnx.ModelProto) -> None:
    [entry] = content.metadata_props
    assert entry.key == CARD_KEY
    assert json.loads(entry.value)["classes"] == ["across", "aslant", "down"]


def test_the_file_contains_no_path_of_the_exporting_machine(
    model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = model.read_bytes()
    # Short words could occur in 45 MB of weights by chance, so they are sought in the rest only.
    without_weights = onnx.ModelProto.FromString(data)
    for tensor in without_weights.graph.initializer:
        tensor.ClearField("raw_data")
    text = without_weights.SerializeToString()
    words = traces(session_folder(tmp_path_factory))
    assert [t for t in words if t in text or (len(t) > 8 and t in data)] == []
    assert len(text) < 200_000
    assert not any(node.doc_string or node.metadata_props for node in without_weights.graph.node)
