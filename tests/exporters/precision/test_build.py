"""int8 and fp16, end to end: the card of an accepted file, and a refused file is not kept."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from tests.conftest import verify_quickly
from toolchain import Predictor
from toolchain.cli.main import run_command
from toolchain.errors import RefusedError
from toolchain.exporters.export import accepted_models, export
from toolchain.exporters.precision import build as build_module
from toolchain.exporters.precision.options import Calibration, Reduction
from toolchain.exporters.variants import Variant
from toolchain.exporters.writers.onnx import build_onnx
from toolchain.files import file_sha256
from toolchain.networks.resnet import InferenceModel
from toolchain.networks.weights import state_sha256
from toolchain.runs.runfolder import RunFolder, model_name
from toolchain.runtime.card import Card
from toolchain.verification.verify import verify

State = dict[str, torch.Tensor]
Change = Callable[[State], None]
BLOCKS = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]


@pytest.fixture(scope="module", autouse=True)
def traced_once() -> Iterator[None]:
    """Trace each network once for each kind of graph, which takes seconds."""
    traced: dict[tuple[object, ...], onnx.ModelProto] = {}

    def build(inference_model: InferenceModel, card: Card) -> onnx.ModelProto:
        key = (state_sha256(inference_model.state_dict()), card.precision, card.input, card.batch)
        if key not in traced:
            traced[key] = build_onnx(inference_model, card)
        made = onnx.ModelProto()
        made.CopyFrom(traced[key])
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "build_onnx", build)
        yield


@pytest.fixture(scope="module")
def printed() -> dict[str, Any]:
    """What `rtl export --json` printed for one of the files; the fixture `files` fills it."""
    return {}


@pytest.fixture(scope="module")
def files(
    run_folder: Path, tmp_path_factory: pytest.TempPathFactory, printed: dict[str, Any]
) -> dict[str, Path]:
    """Each lower precision, and int8 with each input kind, by the name of the file."""
    folder = tmp_path_factory.mktemp("reduced")
    variants = [
        Variant(precision="int8"),
        Variant(precision="fp16"),
        Variant("onnx", "int8", "image"),
    ]
    # A batch larger than the calibration set; the tools print nothing into the JSON.
    words = (
        "--precision int8 --input tensor --batch 16 --json --quiet "
        "--calibration-images 10 --calibration-method percentile"
    )
    with pytest.MonkeyPatch.context() as patch:
        verify_quickly(patch)
        made = accepted_models(export(run_folder, variants, folder))
        with contextlib.redirect_stdout(io.StringIO()) as output:
            status = run_command(["export", str(run_folder), "-o", str(folder), *words.split()])
    assert status == 0
    printed |= json.loads(output.getvalue())
    assert [file.path.name for file in made] == [
        "model.int8.onnx",
        "model.fp16.onnx",
        "model.image.int8.onnx",
    ]
    return {path.name: path for path in folder.glob("*.onnx")}


def card_of(path: Path) -> Card:
    with Predictor(path) as predictor:
        return predictor.card


def logits_of(model: Path, paths: list[Path]) -> NDArray[np.float32]:
    with Predictor(model) as predictor:
        return np.stack([predictor(path).logits for path in paths])


def test_json_describes_the_file_and_its_acceptance(
    files: dict[str, Path], printed: dict[str, Any]
) -> None:
    [row] = printed["files"]
    assert row["file"] == str(files["model.tensor.batch16.int8.onnx"])
    assert (row["precision"], row["input"], row["batch"]) == ("int8", "tensor", 16)
    card = card_of(files["model.tensor.batch16.int8.onnx"])
    assert row["acceptance"] == json.loads(msgspec.json.encode(card.acceptance))
    assert (card.input, card.batch) == ("tensor", 16)


@pytest.mark.parametrize("name", ["model.int8.onnx", "model.fp16.onnx", "model.image.int8.onnx"])
def test_acceptance_on_the_card_is_that_of_a_recount(
    files: dict[str, Path], model: Path, stripes: Path, name: str
) -> None:
    card = card_of(files[name])
    found = card.acceptance
    assert found is not None
    paths = sorted((stripes / "val").rglob("*.jpg"))
    labels = np.array([card.classes.index(path.parent.name) for path in paths])
    before, after = logits_of(model, paths), logits_of(files[name], paths)
    was, now = before.argmax(1), after.argmax(1)
    assert found.images == len(paths) == 24
    assert found.accuracy_before == (was == labels).mean()
    assert found.accuracy_after == (now == labels).mean()
    assert found.flips == (was != now).sum()  # none of these images is near a tie
    assert np.abs(after - before).max() > 0
    assert (found.max_drop, found.max_flips) == (0.01, 0.02)
    assert card.metrics is None
    assert found.kept_float == ()


def test_an_int8_file_is_small_and_fast_and_its_card_has_the_calibration(
    files: dict[str, Path], model: Path
) -> None:
    for name, calibration in {
        "model.int8.onnx": "minmax, 48 images",  # as many as there are for training
        "model.tensor.batch16.int8.onnx": "percentile, 10 images",
    }.items():
        found = card_of(files[name]).acceptance
        assert found is not None
        assert found.calibration == calibration
        assert (found.speed_provider, (found.speed_ratio or 0) > 1) == ("cpu", True)
        assert files[name].stat().st_size < 0.27 * model.stat().st_size


def test_an_fp16_file_has_half_the_size(files: dict[str, Path], model: Path) -> None:
    assert files["model.fp16.onnx"].stat().st_size < 0.51 * model.stat().st_size
    weights = onnx.load(files["model.fp16.onnx"]).graph.initializer
    kinds = {w.data_type for w in weights if w.name.endswith(".weight")}
    assert kinds == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize(
    "name",
    [
        *("model.int8.onnx", "model.fp16.onnx"),
        *("model.image.int8.onnx", "model.tensor.batch16.int8.onnx"),
    ],
)
def test_the_file_name_follows_from_the_card(files: dict[str, Path], name: str) -> None:
    card = card_of(files[name])
    assert model_name(card.format or "", card.precision, card.input, batch=card.batch) == name
    assert (card.opset, card.ir_version) == (18, onnx.load(files[name]).ir_version)
    assert card.lowest_onnxruntime is not None
    rows = {"image": 1, "tensor": 16}.get(card.input, "batch")
    session = onnxruntime.InferenceSession(files[name], providers=["CPUExecutionProvider"])
    assert [output.shape for output in session.get_outputs()] == [[rows, 3], [rows, 3]]


def test_the_file_verifies_alone_with_references_and_in_its_run(
    files: dict[str, Path], run_folder: Path, tmp_path: Path
) -> None:
    path = files["model.int8.onnx"]
    lone = Path(shutil.copy(path, tmp_path))
    found = verify(lone)
    assert found.passed
    assert {level.against for level in found.levels} == {"card", "single images"}
    shutil.copy(f"{path}.references.npz", tmp_path)
    found = verify(lone, run=run_folder, images=6)
    assert found.passed, found.levels
    assert {"card", "references", "run"} <= {level.against for level in found.levels}


@pytest.fixture
def changed(run_folder: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Copy the run with other weights."""

    def make(change: Change) -> Path:
        skip = shutil.ignore_patterns("export", "model.safetensors")
        run = RunFolder(shutil.copytree(run_folder, tmp_path / "run", ignore=skip))
        state = load_file(RunFolder(run_folder).weights)
        change(state)
        save_file(state, run.weights)
        card = run.read_card()
        weights = msgspec.structs.replace(card.weights, sha256=file_sha256(run.weights))
        run.write_card(msgspec.structs.replace(card, weights=weights))
        return run.path

    return make


def extreme_channel(*blocks: str) -> Change:
    """Return a change that keeps the outputs, with a channel so large that int8 loses the rest."""

    def change(state: State) -> None:
        for block in blocks:
            state[f"network.{block}.bn1.weight"][0] *= 4096
            state[f"network.{block}.bn1.bias"][0] *= 4096
            state[f"network.{block}.conv2.weight"][:, 0] /= 4096

    return change


def test_two_layers_that_share_an_extreme_channel_are_left_in_float(
    changed: Callable[[Change], Path], tmp_path: Path
) -> None:
    run = changed(extreme_channel("layer1.0"))
    few = Reduction(calibration=Calibration(images=16))
    [made] = accepted_models(
        export(run, [Variant(precision="int8")], tmp_path / "out", images=12, reduction=few)
    )
    found = made.card.acceptance
    assert found is not None
    assert set(found.kept_float) == {"layer1.0.conv1", "layer1.0.conv2"}
    assert made.verification.passed


def test_a_run_that_loses_too_much_is_refused_with_three_figures(
    changed: Callable[[Change], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # 16 layers are harmed, more than are left in float; another test checks which ones.
    monkeypatch.setattr(build_module, "MOST_FLOAT_LAYERS", 2)
    monkeypatch.setattr(build_module, "most_harmful", lambda given, *rest: list(given.layers))
    run = changed(extreme_channel(*BLOCKS))
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.int8.onnx").write_text("an earlier one")
    words = ["export", str(run), "-o", str(out), "--precision", "int8", "--quiet"]
    assert run_command([*words, "--max-drop", "0", "--max-flips", "0"]) == 10
    [error, hint] = capsys.readouterr().err.splitlines()
    assert error.startswith("error: int8 is refused: accuracy 100.0% → ")
    for part in ("allowed drop 0 points, p = ", "of 24 labels differ (allowed 0.0%)", "speed "):
        assert part in error
    assert error.endswith("× fp32; the file was not kept")
    assert hint.startswith("hint: --max-drop and --max-flips set the limits")
    assert [path.name for path in out.iterdir()] == ["model.int8.onnx"]
    assert (out / "model.int8.onnx").read_text() == "an earlier one"


def test_a_file_that_is_not_faster_is_refused(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "speed_ratio", lambda *given: 0.93)
    with pytest.raises(RefusedError, match=r"speed 0\.93 × fp32; the file was not kept") as caught:
        accepted_models(export(run_folder, [Variant(precision="int8")], tmp_path / "out", images=6))
    assert caught.value.exit_code == 10
    assert "fp32 is the faster one" in str(caught.value.hint)
    assert list((tmp_path / "out").iterdir()) == []
