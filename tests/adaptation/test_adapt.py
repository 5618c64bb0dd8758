"""`rtl adapt`: a new file where it helps, figures where not, and the model is never touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.adaptation.targets import draw_target, model_of_another_camera, spoil
from tests.conftest import Rtl, tree_digest
from tests.made_once import made_once
from toolchain.adaptation.adapt import adapt
from toolchain.adaptation.result import Adapted
from toolchain.adaptation.source_features import features_file
from toolchain.errors import DataError, ModelFileError, RefusedError, SettingsError
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import generated_pixels
from toolchain.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quickly")

SHIFT = (0.0, 10.0, 0.0)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of another camera, which no test changes."""
    return made_once(tmp_path_factory, "target", draw_target)


@pytest.fixture(scope="module")
def other(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model to which those photographs are of another camera; no test changes it."""
    return model_of_another_camera(model, tmp_path_factory.mktemp("other"), SHIFT)


@pytest.fixture(scope="module")
def adapted(other: Path, target: Path, tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    made = tmp_path_factory.mktemp("made") / "model.adapted.onnx"
    before = tree_digest(other.parent), tree_digest(target)
    result = adapt(other, target, output=made)
    assert (tree_digest(other.parent), tree_digest(target)) == before
    return result


def test_the_new_file_has_other_logits_and_the_same_graph(other: Path, adapted: Adapted) -> None:
    assert adapted.path is not None
    pixels = generated_pixels(64)
    with Predictor(other, cache=False) as old, Predictor(adapted.path, cache=False) as new:
        moved = new.run(pixels).logits - old.run(pixels).logits
    assert moved == pytest.approx(np.broadcast_to(moved[0], moved.shape), abs=1e-4)
    assert moved[0, 1] < moved[0, 0] - 5
    graphs = [onnx.load(path).graph for path in (other, adapted.path)]
    assert [n.SerializeToString() for n in graphs[0].node] == [
        n.SerializeToString() for n in graphs[1].node
    ]
    weights = [{t.name: t.raw_data for t in graph.initializer} for graph in graphs]
    changed = [name for name in weights[0] if weights[0][name] != weights[1][name]]
    assert changed == ["classifier.network.fc.bias"]


def test_the_new_file_is_right_where_the_model_was_wrong(
    other: Path, adapted: Adapted, target: Path
) -> None:
    assert adapted.path is not None
    files = sorted(target.iterdir())
    right = {}
    for path in (other, adapted.path):
        with Predictor(path, cache=False) as predictor:
            labels = [predictor(file).label or "" for file in files]
        right[path] = np.mean([f.name.startswith(n) for f, n in zip(files, labels, strict=True)])
    assert right[other] < 0.95
    assert right[adapted.path] > 0.97
    figures = adapted.figures
    assert figures.expected_before == pytest.approx(right[other], abs=0.05)
    assert figures.expected_after == pytest.approx(right[adapted.path], abs=0.05)


def test_the_new_file_has_a_card_of_its_own_and_proves_itself(
    other: Path, adapted: Adapted
) -> None:
    assert adapted.path is not None
    with Predictor(adapted.path, self_test=True) as predictor:
        card = predictor.card
    assert card.metrics is None
    assert card.adapted is not None
    assert card.adapted.from_sha256 == adapted.sha256
    assert card.adapted.target_images == 105
    result = verify(adapted.path)
    assert result.passed
    assert {(level.level, level.against) for level in result.levels} >= {
        ("card", "report"), ("numbers", "card"), ("numbers", "references"),
        ("decisions", "references"), ("pixels", "references"),
    }  # fmt: skip


def test_an_adapted_file_in_the_export_of_its_run_is_not_held_to_the_run(
    adapted: Adapted, run_folder: Path, exported: Path, tmp_path: Path
) -> None:
    assert adapted.path is not None
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    for file in adapted.path.parent.glob("model.adapted.onnx*"):
        shutil.copy(file, run / "export")
    moved = run / "export" / adapted.path.name
    assert "run" not in {level.against for level in verify(moved).levels}
    with pytest.raises(SettingsError, match="was adapted to 105 photographs of another camera"):
        verify(moved, run=run)


def test_the_command_prints_the_figures_and_the_new_file(
    rtl_here: Rtl, other: Path, target: Path, tmp_path: Path
) -> None:
    done = rtl_here("adapt", other, "--to", target, "-o", tmp_path, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["accepted"] is True
    assert found["output"] == str(tmp_path / "model.adapted.onnx")
    assert found["figures"]["p_same_camera"] < 0.01
    assert found["verification"]["passed"] is True
    shown = rtl_here("inspect", tmp_path / "model.adapted.onnx").stdout
    assert "to 105 photographs of another camera" in shown


def test_photographs_of_the_same_camera_are_refused_with_figures(
    rtl_here: Rtl, model: Path, target: Path, tmp_path: Path
) -> None:
    done = rtl_here("adapt", model, "--to", target, "-o", tmp_path / "new.onnx", "--json")
    assert done.returncode == 10
    found = json.loads(done.stdout)
    assert (found["accepted"], found["output"]) == (False, None)
    assert "are needed" in found["reason"] or "is needed" in found["reason"]
    assert f"error: {model} is not adapted to {target}: " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_labelled_photographs_that_would_lose_refuse(
    other: Path, target: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(target, tmp_path / "labelled"))
    with Predictor(other, cache=False) as predictor:  # what it says now is declared to be right
        rows = [f"{file.name},{predictor(file).label}" for file in sorted(folder.glob("*.jpg"))]
    (folder / "labels.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    with pytest.raises(RefusedError, match="of 105 labelled photographs") as caught:
        adapt(other, folder, output=tmp_path / "new.onnx")
    assert caught.value.result.figures.labelled.correct_before > 90
    assert not (tmp_path / "new.onnx").exists()


def test_a_file_that_is_replaced_is_said_to_be(
    rtl_here: Rtl, other: Path, target: Path, tmp_path: Path
) -> None:
    words = ("adapt", other, "--to", target, "-o", tmp_path / "new.onnx")
    first, second = rtl_here(*words), rtl_here(*words)
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert "in place of" not in first.stderr
    assert "new.onnx, in place of the file that is there\n" in second.stderr


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ("no folder", 3, "no such folder"),
        ("empty", 3, "no images in this folder"),
        ("few", 3, "has 4 images; at least 100 are needed"),
        ("copies", 3, "has 4 images that differ from each other; at least 100 are needed"),
        ("one", 3, "has 1 image; at least 100 are needed"),
        ("damaged", 3, "has 99 images that can be read; at least 100 are needed"),
        ("unknown class", 3, "'zebra' is no class of the model"),
    ],
)
def test_a_target_that_can_not_serve_is_one_line(
    change: str, status: int, says: str, rtl_here: Rtl, model: Path, target: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "target"
    if change != "no folder":
        folder.mkdir()
    if change not in ("no folder", "empty"):
        wanted = {"few": 4, "copies": 4, "one": 1}.get(change, 105)
        for file in sorted(target.iterdir())[:wanted]:
            shutil.copy(file, folder)
    if change == "copies":
        for file in sorted(folder.iterdir()):
            for number in range(30):
                shutil.copy(file, folder / f"{number}-{file.name}")
    if change == "damaged":
        for file in sorted(folder.iterdir())[:6]:
            spoil(file)
    if change == "unknown class":
        (folder / "labels.csv").write_text("file,label\nacross-00.jpg,zebra\n")
    done = rtl_here("adapt", model, "--to", folder, "--quiet")
    assert done.returncode == status
    assert says in done.stderr
    assert done.stderr.startswith("error: ")


def test_too_few_images_by_an_option_say_how_many_there_are(
    rtl_here: Rtl, model: Path, target: Path
) -> None:
    done = rtl_here("adapt", model, "--to", target, "--images", 5)
    assert done.returncode == 3
    assert "--images leaves 5 of 105 images of" in done.stderr
    assert "hint: --images 100\n" in done.stderr


def test_files_that_can_not_be_adapted_say_which_can(
    exported: Path, adapted: Adapted, target: Path, rtl_here: Rtl
) -> None:
    torchscript = rtl_here("adapt", exported / "model.torchscript.pt", "--to", target)
    assert torchscript.returncode == 5
    assert "is a file of torch, not an ONNX file" in torchscript.stderr
    assert "hint: rtl export RUN" in torchscript.stderr
    assert adapted.path is not None
    with pytest.raises(ModelFileError, match="was adapted already, to 105 photographs"):
        adapt(adapted.path, target)


def test_the_model_is_not_replaced(other: Path, target: Path, rtl_here: Rtl) -> None:
    before = tree_digest(other.parent)
    done = rtl_here("adapt", other, "--to", target, "-o", other)
    assert done.returncode == 2
    assert "is the file that is adapted" in done.stderr
    assert tree_digest(other.parent) == before


def test_of_a_run_its_exported_file_is_adapted(
    exported_run_folder: Path, target: Path, tmp_path: Path, rtl_here: Rtl
) -> None:
    run = Path(shutil.copytree(exported_run_folder, tmp_path / "run"))
    done = rtl_here("adapt", run, "--to", target, "-o", tmp_path / "new.onnx", "--json")
    assert done.returncode in (0, 10), done.stderr
    assert f"adapting {run / 'export' / 'model.onnx'}\n" in done.stderr
    assert json.loads(done.stdout)["model"] == str(run / "export" / "model.onnx")


@pytest.mark.parametrize("kind", ["another model", "notes"])
def test_a_file_that_was_not_adapted_is_not_replaced(
    kind: str, other: Path, model: Path, target: Path, tmp_path: Path, rtl_here: Rtl
) -> None:
    there = tmp_path / "there.onnx"
    there.write_bytes(model.read_bytes() if kind == "another model" else b"my notes")
    before = tree_digest(tmp_path)
    done = rtl_here("adapt", other, "--to", target, "-o", there, "--quiet")
    assert done.returncode == 2
    assert "there.onnx exists and is no adapted model; it is kept as it is" in done.stderr
    assert tree_digest(tmp_path) == before


def test_without_stored_features_the_training_images_are_asked_for(
    model: Path, target: Path, stripes: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone.onnx"
    shutil.copy(model, alone)
    with pytest.raises(DataError, match=r"alone\.onnx\.features\.npz: no such file") as error:
        adapt(alone, target)
    assert "--source FOLDER" in str(error.value.hint)
    with pytest.raises(RefusedError) as caught:
        adapt(alone, target, source=str(stripes))
    assert caught.value.result.source_images == 48


def test_damaged_features_are_named(model: Path, target: Path, tmp_path: Path) -> None:
    copied = tmp_path / "model.onnx"
    shutil.copy(model, copied)
    features_file(copied).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ModelFileError, match=r"model\.onnx\.features\.npz can't be read"):
        adapt(copied, target)


def test_a_name_of_another_format_is_refused_before_anything_is_measured(
    other: Path, target: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"x\.pt has not the suffix \.onnx") as caught:
        adapt(other, target, output=tmp_path / "x.pt")
    assert caught.value.hint == f"-o {tmp_path / 'x.onnx'}"
