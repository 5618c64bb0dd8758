"""The TorchScript file of a real run, opened with torch alone."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from tests.exporters.writers.test_onnx import traces
from tests.made_once import session_folder
from toolchain.backends.backend import open_backend
from toolchain.exporters.writers.input_check import InputCheck
from toolchain.runtime.card import CARD_KEY, decode_card
from toolchain.runtime.selftest import generated_pixels


@pytest.fixture(scope="module")
def script(exported: Path) -> Path:
    return exported / "model.torchscript.pt"


@pytest.fixture(scope="module")
def module(script: Path) -> torch.jit.ScriptModule:
    loaded: torch.jit.ScriptModule = torch.jit.load(str(script))
    return loaded


def test_module_is_frozen(module: torch.jit.ScriptModule) -> None:
    assert list(module.parameters()) == []
    assert not hasattr(module, "training")
    names = {node.kind() for node in module.graph.nodes()}
    assert "aten::batch_norm" not in names  # folded into the convolutions


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
def test_module_returns_probabilities_and_logits_of_any_batch(
    module: torch.jit.ScriptModule, script: Path, batch: int
) -> None:
    pixels = np.resize(generated_pixels(64), (batch, 64, 64, 3))
    with torch.inference_mode():
        probabilities, logits = module(torch.from_numpy(pixels))
    assert logits.shape == probabilities.shape == (batch, 3)
    torch.testing.assert_close(probabilities, torch.softmax(logits, dim=1))
    torch.testing.assert_close(logits[4:], logits[:-4], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pixels: pixels.float(), r"it was given float32 of shape \[4, 64, 64, 3\]"),
        (lambda pixels: pixels.half(), "it was given floating-point numbers of shape"),
        (lambda pixels: pixels.long(), "it was given integers of another type"),
        (lambda pixels: pixels.permute(0, 3, 1, 2), r"uint8 of shape \[4, 3, 64, 64\]"),
        (lambda pixels: pixels[:, :60], r"uint8 of shape \[4, 60, 64, 3\]"),
        (lambda pixels: pixels[0], r"uint8 of shape \[64, 64, 3\]"),
    ],
    ids=["float", "half", "long", "channels first", "other size", "one image"],
)
def test_module_refuses_what_it_does_not_take(
    module: torch.jit.ScriptModule, change: Callable[[torch.Tensor], torch.Tensor], words: str
) -> None:
    pixels = torch.from_numpy(generated_pixels(64))
    taken = r"this model takes 'pixels', uint8 \[batch, 64, 64, 3\]; "
    with pytest.raises(torch.jit.Error, match=f"{taken}.*{words}"):
        module(change(pixels))


def test_the_check_knows_the_input_kind_and_the_batch(exported: Path) -> None:
    card = open_backend(exported / "model.torchscript.pt").card
    one_size = msgspec.structs.replace(card, input="tensor", batch=3)
    checked = torch.jit.trace(
        InputCheck(torch.nn.Identity(), one_size), torch.zeros(3, 3, 64, 64), check_trace=False
    )
    assert checked(torch.ones(3, 3, 64, 64)).sum() == 3 * 3 * 64 * 64
    for wrong in (
        torch.ones(2, 3, 64, 64),
        torch.ones(3, 64, 64, 3),
        torch.ones(3, 3, 64, 64).byte(),
    ):
        with pytest.raises(torch.jit.Error, match=r"takes 'tensor', float \[3, 3, 64, 64\]"):
            checked(wrong)


def test_module_computes_the_proof_of_its_card(
    module: torch.jit.ScriptModule, script: Path
) -> None:
    extra = {CARD_KEY: ""}
    torch.jit.load(str(script), _extra_files=extra)
    card = decode_card(extra[CARD_KEY], source="model")
    assert (card.format, card.opset, card.lowest_onnxruntime) == ("torchscript", None, None)
    assert card.proof is not None
    with torch.inference_mode():
        _, logits = module(torch.from_numpy(generated_pixels(64)))
    np.testing.assert_allclose(logits, card.proof.logits, rtol=1e-3, atol=1e-3)


def test_any_program_can_read_the_card_from_the_archive(script: Path) -> None:
    with zipfile.ZipFile(script) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(f"/extra/{CARD_KEY}")]
        assert json.loads(archive.read(name))["classes"] == ["across", "aslant", "down"]


def test_the_archive_contains_no_path_of_the_exporting_machine(
    script: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    words = traces(session_folder(tmp_path_factory))
    words.remove(b".py")  # its own code ends in it
    with zipfile.ZipFile(script) as archive:
        assert archive.testzip() is None
        records = {name: archive.read(name) for name in archive.namelist()}
    small = b"\n".join(data for name, data in records.items() if "/constants/" not in name)
    assert [t for t in words if t in small] == []
    assert [t for t in words if len(t) > 8 and t in script.read_bytes()] == []
