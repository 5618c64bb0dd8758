"""`export`: where files go, and that a file which fails verification is not kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch

from tests.conftest import tree_digest
from tests.verification import tampering
from toolchain.backends.backend import open_backend
from toolchain.cli.main import run_command
from toolchain.errors import DataError, ParityError
from toolchain.exporters.export import WRITERS, accepted_models, export
from toolchain.exporters.variants import Variant
from toolchain.networks.resnet import InferenceModel
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.card import CARD_KEY, Card, encode_card
from toolchain.runtime.selftest import generated_pixels
from toolchain.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quickly")

FEW = 6
"""Validation images, for tests of something else than the comparison."""


@pytest.fixture
def target(exported: Path, tmp_path: Path) -> Path:
    """The path of an older, good export, with its report and references."""
    folder = tmp_path / "out"
    folder.mkdir()
    for path in exported.glob("model.onnx*"):
        shutil.copy2(path, folder)
    return folder / "model.onnx"


def copy_of(run_folder: Path, folder: Path) -> Path:
    """Copy a run without its model files."""
    skip = shutil.ignore_patterns("export")
    return Path(shutil.copytree(run_folder, folder / "run", ignore=skip))


def write_with(monkeypatch: pytest.MonkeyPatch, model: Path, change: tampering.Tampering) -> None:
    """Let export write the good model with its new card, tampered with."""

    def write(inference_model: InferenceModel, card: Card, path: Path) -> None:
        content = onnx.load(model)
        tampering.put_card(content, card)
        change(content)
        path.write_bytes(content.SerializeToString())

    monkeypatch.setitem(WRITERS, "onnx", write)


def test_export_leaves_each_format_with_its_report_and_references(exported: Path) -> None:
    assert {path.name for path in exported.iterdir()} == {
        f"model{suffix}{what}"
        for suffix in (".onnx", ".torchscript.pt")
        for what in ("", ".parity.json", ".references.npz")
    } | {"model.onnx.features.npz"}
    by_every_format = {
        ("numbers", "card"),
        ("numbers", "references"),
        ("decisions", "references"),
        ("pixels", "references"),
        ("card", "run"),
        ("numbers", "run"),
        ("decisions", "run"),
        ("pixels", "run"),
        ("pixels", "image formats"),
        ("batches", "single images"),
    }
    for report in exported.glob("*.parity.json"):
        found = json.loads(report.read_text())
        assert found["passed"] is True
        assert Path(found["model"]).is_absolute()
        assert Path(found["model"]).name == report.name.removesuffix(".parity.json")
        opened_by_onnxruntime = {("sessions", "card")} if ".onnx." in report.name else set()
        assert {(level["level"], level["against"]) for level in found["levels"]} == (
            by_every_format | opened_by_onnxruntime
        )


def test_output_names_a_file_or_a_folder_that_may_not_exist_yet(
    run_folder: Path, tmp_path: Path
) -> None:
    file, folder = tmp_path / "a" / "dish.pt", tmp_path / "b" / "files"
    before = tree_digest(run_folder)
    [one] = accepted_models(export(run_folder, [Variant("torchscript")], file, images=FEW))
    [other] = accepted_models(export(run_folder, [Variant("torchscript")], folder, images=FEW))
    assert one.path == file
    assert other.path == folder / "model.torchscript.pt"
    assert one.bytes == file.stat().st_size > 44_000_000
    assert {path.name for path in file.parent.iterdir()} == {
        "dish.pt",
        "dish.pt.parity.json",
        "dish.pt.references.npz",
    }
    assert tree_digest(run_folder) == before


def test_two_formats_in_one_file_are_refused(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names one file, and 2"):
        accepted_models(
            export(
                run_folder,
                [Variant("onnx"), Variant("torchscript")],
                tmp_path / "model.onnx",
                images=FEW,
            )
        )
    assert list(tmp_path.iterdir()) == []


def test_another_image_size_is_on_the_card_and_verifies_in_the_run(
    run_folder: Path, tmp_path: Path
) -> None:
    size = 96
    run = RunFolder(copy_of(run_folder, tmp_path))
    before = run.read_card()
    assert before.metrics is not None
    [made] = accepted_models(
        export(run.path, [Variant("torchscript")], images=FEW, image_size=size)
    )
    assert made.path.name == "model.size96.torchscript.pt"
    card = open_backend(made.path).card
    assert card.preprocessing.size == size
    # The crop keeps its share of what is left after the resize.
    assert card.preprocessing.resize_size == round(size * before.preprocessing.resize_size / 64)
    assert card.trained_size == 64
    assert card.metrics is None  # they were measured at the old size
    _, logits = open_backend(made.path).run(generated_pixels(size))
    assert logits.shape == (4, 3)
    found = verify(made.path, images=FEW)
    assert found.passed, found.levels
    assert {"run", "references", "card"} <= {level.against for level in found.levels}


def test_the_trained_image_size_changes_nothing_on_the_card(
    run_folder: Path, tmp_path: Path
) -> None:
    [made] = accepted_models(
        export(run_folder, [Variant("torchscript")], tmp_path, images=FEW, image_size=64)
    )
    assert made.path.name == "model.torchscript.pt"
    card = RunFolder(run_folder).read_card()
    assert (made.card.trained_size, made.card.metrics) == (None, card.metrics)
    assert made.card.preprocessing == card.preprocessing


def test_a_file_that_is_not_kept_does_not_stop_the_others(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write(inference_model: InferenceModel, card: Card, path: Path) -> None:
        WRITERS["torchscript"](
            inference_model, msgspec.structs.replace(card, temperature=9.0), path
        )

    monkeypatch.setitem(WRITERS, "pt2", write)
    words = ["export", str(run_folder), "-o", str(tmp_path), "--images", str(FEW), "--json"]
    assert run_command([*words, "--format", "pt2", "--format", "torchscript"]) == 6
    printed = capsys.readouterr()
    assert "error: 1 of 2 files not kept: " in printed.err
    report = json.loads(printed.out)
    assert list(report) == ["version", "files"]
    rejected, kept = report["files"]
    assert list(rejected) == ["file", "error", "hint"]
    assert (Path(rejected["file"]).name, Path(kept["file"]).name) == (
        "model.pt2",
        "model.torchscript.pt",
    )
    assert "the file was not kept" in rejected["error"]
    assert kept["verification"]["passed"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.torchscript.pt",
        "model.torchscript.pt.parity.json",
        "model.torchscript.pt.references.npz",
        "model.pt2.rejected.json",
    }


@pytest.mark.parametrize(
    ("words", "status"),
    [("--format torchscript", 0), ("--precision int8", 9)],
)
def test_only_reduced_precisions_need_onnxruntime(
    run_folder: Path, tmp_path: Path, words: str, status: int
) -> None:
    code = (
        "import sys\n"
        "sys.modules['onnxruntime'] = None  # as if it were not installed\n"
        "from toolchain.cli.main import run_command\n"
        "sys.exit(run_command(sys.argv[1:]))\n"
    )
    given = ["export", str(run_folder), "-o", str(tmp_path / "out"), "--images", "3", "-q"]
    done = subprocess.run(
        [sys.executable, "-c", code, *given, *words.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    if status:
        assert done.stderr.splitlines() == [
            "error: onnxruntime is not installed",
            'hint: pip install "rtl-toolchain[cpu]"',
        ]
        assert list((tmp_path / "out").iterdir()) == []


def test_temperature_of_the_run_is_in_the_graph(run_folder: Path, tmp_path: Path) -> None:
    run = RunFolder(copy_of(run_folder, tmp_path))
    run.write_card(msgspec.structs.replace(run.read_card(), temperature=2.0))
    [made] = accepted_models(export(run.path, [Variant("torchscript")], images=FEW))
    probabilities, logits = open_backend(made.path).run(generated_pixels(64))
    expected = torch.softmax(torch.from_numpy(logits) / 2, dim=1)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        # One for each level that a graph or a card can fail, and one that can't be opened;
        # tests/verification/test_mutations.py has the others.
        tampering.one_weight,
        tampering.other_order_on_the_card,
        tampering.hotter_softmax,
        tampering.batch_of_one,
    ],
)
def test_a_file_with_other_outputs_is_not_kept(
    run_folder: Path,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: tampering.Tampering,
) -> None:
    write_with(monkeypatch, target, change)
    before = tree_digest(target.parent)
    with pytest.raises(ParityError, match="the file was not kept") as caught:
        accepted_models(export(run_folder, [Variant("onnx")], target, images=FEW))
    assert caught.value.exit_code == 6
    rejected = target.with_name("model.onnx.rejected.json")
    assert str(rejected) in str(caught.value.hint)
    assert json.loads(rejected.read_text())["passed"] is False
    rejected.unlink()
    assert tree_digest(target.parent) == before  # the older file and its report are unchanged


def test_a_good_export_removes_the_report_of_a_bad_one(
    run_folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected = target.with_name("model.onnx.rejected.json")
    rejected.write_text("{}")
    write_with(monkeypatch, target, lambda content: None)
    accepted_models(export(run_folder, [Variant("onnx")], target, images=FEW))
    assert not rejected.exists()


def test_a_model_left_in_train_mode_is_not_kept(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(inference_model: InferenceModel, card: Card, path: Path) -> None:
        example = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns of train mode
            traced = torch.jit.trace(inference_model.train(), example, check_trace=False)
        torch.jit.save(traced, path, _extra_files={CARD_KEY: encode_card(card)})

    monkeypatch.setitem(WRITERS, "torchscript", write)
    with pytest.raises(ParityError, match="the file was not kept"):
        accepted_models(export(run_folder, [Variant("torchscript")], tmp_path, images=FEW))
    assert [path.name for path in tmp_path.iterdir()] == ["model.torchscript.pt.rejected.json"]


def test_a_writer_that_fails_leaves_the_older_file(
    run_folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(inference_model: InferenceModel, card: Card, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setitem(WRITERS, "onnx", write)
    before = tree_digest(target.parent)
    with pytest.raises(OSError, match="no space left"):
        accepted_models(export(run_folder, [Variant("onnx")], target, images=FEW))
    assert tree_digest(target.parent) == before
