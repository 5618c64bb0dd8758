"""int8 and fp16, end to end: what is accepted says why, and what is refused leaves nothing."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
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

from toolchain import Predictor
from toolchain.cli.main import run_command
from toolchain.errors import RefusedError
from toolchain.exporters.export import accepted_models, export
from toolchain.exporters.precision import build as build_module
from toolchain.exporters.precision.acceptance import AcceptanceCheck, require_accepted
from toolchain.exporters.precision.options import Calibration, Limits, Reduction
from toolchain.exporters.variants import Variant
from toolchain.exporters.writers.onnx import build_onnx
from toolchain.metrics.wording import acceptance_words
from toolchain.networks.resnet import InferenceModel
from toolchain.networks.weights import state_sha256
from toolchain.runs.runfolder import RunFolder, model_name
from toolchain.runtime.card import Acceptance, Card
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
    """What `rtl export --json` printed for one of the files; filled where they are made."""
    return {}


@pytest.fixture(scope="module")
def files(
    run_folder: Path, tmp_path_factory: pytest.TempPathFactory, printed: dict[str, Any]
) -> dict[str, Path]:
    """Each lower precision, and int8 behind each door, by the name of the file."""
    folder = tmp_path_factory.mktemp("reduced")
    made = accepted_models(
        export(
            run_folder,
            [
                Variant(precision="int8"),
                Variant(precision="fp16"),
                Variant("onnx", "int8", "image"),
            ],
            folder,
        )
    )
    # More images at once than it is calibrated on, and words on standard output from the tools.
    words = (
        "--precision int8 --input tensor --batch 16 --json --quiet "
        "--calibration-images 10 --calibration-method percentile"
    )
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


def answers(model: Path, paths: list[Path]) -> NDArray[np.float32]:
    with Predictor(model) as predictor:
        return np.stack([predictor(path).logits for path in paths])


def test_json_says_what_was_made_and_what_it_cost(
    files: dict[str, Path], printed: dict[str, Any]
) -> None:
    [row] = printed["files"]
    assert row["file"] == str(files["model.tensor.int8.onnx"])
    assert (row["precision"], row["input"], row["batch"]) == ("int8", "tensor", 16)
    card = card_of(files["model.tensor.int8.onnx"])
    assert row["acceptance"] == json.loads(msgspec.json.encode(card.acceptance))
    assert (card.input, card.batch) == ("tensor", 16)


@pytest.mark.parametrize("name", ["model.int8.onnx", "model.fp16.onnx", "model.image.int8.onnx"])
def test_the_card_says_what_a_recount_finds(
    files: dict[str, Path], model: Path, stripes: Path, name: str
) -> None:
    card = card_of(files[name])
    found = card.acceptance
    assert found is not None
    paths = sorted((stripes / "val").rglob("*.jpg"))
    labels = np.array([card.classes.index(path.parent.name) for path in paths])
    before, after = answers(model, paths), answers(files[name], paths)
    was, now = before.argmax(1), after.argmax(1)
    assert found.images == len(paths) == 24
    assert found.accuracy_before == (was == labels).mean()
    assert found.accuracy_after == (now == labels).mean()
    assert found.flips == (was != now).sum()  # none of these images is near a tie
    assert np.abs(after - before).max() > 0
    assert (found.max_drop, found.max_flips) == (0.01, 0.02)
    assert card.metrics is None
    assert found.kept_float == ()


def test_an_int8_file_is_small_and_fast_and_says_how_it_was_calibrated(
    files: dict[str, Path], model: Path
) -> None:
    for name, about in {
        "model.int8.onnx": "minmax, 48 images",  # as many as there are for training
        "model.tensor.int8.onnx": "percentile, 10 images",
    }.items():
        found = card_of(files[name]).acceptance
        assert found is not None
        assert found.calibration == about
        assert (found.speed_provider, (found.speed_ratio or 0) > 1) == ("cpu", True)
        assert files[name].stat().st_size < 0.27 * model.stat().st_size


def test_an_fp16_file_has_half_the_size(files: dict[str, Path], model: Path) -> None:
    assert files["model.fp16.onnx"].stat().st_size < 0.51 * model.stat().st_size
    weights = onnx.load(files["model.fp16.onnx"]).graph.initializer
    kinds = {w.data_type for w in weights if w.name.endswith(".weight")}
    assert kinds == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize(
    "name",
    ["model.int8.onnx", "model.fp16.onnx", "model.image.int8.onnx", "model.tensor.int8.onnx"],
)
def test_the_file_is_named_after_what_its_card_says(files: dict[str, Path], name: str) -> None:
    card = card_of(files[name])
    assert model_name(card.format or "", card.precision, card.input) == name
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
    assert {level.against for level in found.levels} == {"card"}
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
        return run.path

    return make


def extreme_channel(*blocks: str) -> Change:
    """Return the same function, with a channel in each block that leaves the others no steps."""

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
    # 16 layers hurt and 8 are left in float at most; which ones, another test looks at.
    monkeypatch.setattr(build_module, "MOST_KEPT", 2)
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


def acceptance(**changes: float | None) -> Acceptance:
    given = {
        "images": 100,
        "accuracy_before": 0.90,
        "accuracy_after": 0.89,
        "p_value": 1.0,
        "max_drop": 0.01,
        "flips": 2,
        "max_flips": 0.02,
        "speed_ratio": 1.5,
        "speed_provider": "cpu",
    }
    return Acceptance(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {},  # at both limits
        {"accuracy_after": 0.95},
        {"speed_ratio": None},  # no GPU at hand
        {"max_flips": 0.29, "flips": 29},  # in floating point 28.999…
    ],
)
def test_what_is_within_its_limits_is_accepted(changes: dict[str, float | None]) -> None:
    require_accepted(acceptance(**changes), "int8")


@pytest.mark.parametrize(
    "changes",
    [{"accuracy_after": 0.88}, {"flips": 3}, {"speed_ratio": 1.0}, {"speed_ratio": 0.5}],
)
def test_what_is_beyond_a_limit_is_refused_with_all_figures(
    changes: dict[str, float | None],
) -> None:
    found = acceptance(**changes)
    with pytest.raises(RefusedError) as caught:
        require_accepted(found, "fp16")
    message = str(caught.value)
    assert f"accuracy 90.0% → {found.accuracy_after:.1%}" in message
    assert f"{found.flips}.0% of 100 labels differ" in message
    assert f"speed {found.speed_ratio:.2f} × fp32" in message


def test_words_for_a_person_hold_all_figures() -> None:
    words = acceptance_words(acceptance(p_value=0.0312))
    assert words == (
        "accuracy 90.0 % → 89.0 % (p = 0.031), 2 of 100 labels differ, "
        "1.50 × as fast as fp32 on 1 thread (cpu)"
    )
    kept = msgspec.structs.replace(acceptance(speed_ratio=None), kept_float=("conv1", "fc"))
    assert acceptance_words(kept).endswith("not timed, as no GPU is at hand; in float: conv1, fc")


def check(
    before: NDArray[np.float32], labels: list[int], files: dict[str, Path]
) -> AcceptanceCheck:
    card = card_of(files["model.int8.onnx"])
    names = [str(number) for number in range(len(before))]
    pixels = np.zeros((len(before), 64, 64, 3), np.uint8)
    return AcceptanceCheck(names, pixels, labels, (soft(before), before), card, Limits())


def soft(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def test_the_judge_counts_labels_and_pairs_images(files: dict[str, Path]) -> None:
    rng = np.random.default_rng(3)
    before = rng.normal(0, 2, (200, 3)).astype(np.float32)
    after = before + rng.normal(0, 1, (200, 3)).astype(np.float32)
    labels = [int(label) for label in rng.integers(0, 3, 200)]
    found = check(before, labels, files).measure((soft(after), after))
    was, now = before.argmax(1) == labels, after.argmax(1) == labels
    assert (found.accuracy_before, found.accuracy_after) == (was.mean(), now.mean())
    assert found.flips == (before.argmax(1) != after.argmax(1)).sum() > 10
    lost, gained = int((was & ~now).sum()), int((now & ~was).sum())
    # McNemar's exact test by its definition: a fair coin for each image whose rightness changed.
    total = lost + gained
    as_uneven = [k for k in range(total + 1) if abs(2 * k - total) >= abs(lost - gained)]
    assert found.p_value == pytest.approx(
        sum(math.comb(total, k) for k in as_uneven) / 2**total, rel=1e-9
    )


def test_a_tie_in_float32_is_no_flip(files: dict[str, Path]) -> None:
    before = np.array([[5.0, 5.0001, 0], [5.0, 5.1, 0]], np.float32)
    after = np.array([[5.2, 5.0, 0], [5.2, 5.0, 0]], np.float32)
    found = check(before, [0, 0], files).measure((soft(after), after))
    assert found.flips == 1
    assert (found.accuracy_before, found.accuracy_after) == (0.0, 1.0)


def test_numbers_that_are_none_are_not_near(files: dict[str, Path]) -> None:
    before = np.array([[5.0, 1.0, 0]], np.float32)
    one = check(before, [0], files)
    for shift, near in itertools.zip_longest((0.0, 0.5, 20.0, np.nan), (True, True, False, False)):
        after = before + np.float32(shift) * np.array([[1, 0, 0]], np.float32)
        assert one.near((one.before[0], after)) is near
