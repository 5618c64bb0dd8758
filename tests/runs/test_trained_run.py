"""A finished run, opened: what is read when, what is read once, and what is an error."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from tests.conftest import Rtl
from toolchain.data.audit import audit_dataset
from toolchain.data.audit_result import Unreadable
from toolchain.data.layouts import read_dataset
from toolchain.errors import DataError, ModelFileError
from toolchain.files import file_sha256, write_json
from toolchain.networks import weights as weights_module
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.networks.weights import weights_bytes
from toolchain.runs import trained_run as trained_run_module
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings_file import read_settings, settings_toml
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import Card, Preprocessing, Weights


@pytest.fixture(scope="module")
def finished(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as training leaves it, with random weights."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "stripes")
    run.path.mkdir()
    settings = read_settings(None, {"data": str(stripes), "weights": "none", "size": 32})
    run.settings.write_text(settings_toml(settings))
    classifier = Classifier(build_network("resnet18", 3), IMAGENET_NORMALISATION)
    run.weights.write_bytes(weights_bytes(classifier.state_dict()))
    _, audit = audit_dataset(read_dataset(stripes))
    write_json(run.audit, audit)
    run.write_card(
        Card(
            classes=("across", "aslant", "down"),
            preprocessing=Preprocessing(size=32, resize_size=37),
            normalisation=IMAGENET_NORMALISATION,
            architecture="resnet18",
            weights=Weights(origin="random", sha256=file_sha256(run.weights)),
            settings_sha256="",
            data_sha256=audit.fingerprint,
            versions={"rtl": "0"},
            created="2026-01-01T00:00:00+00:00",
        )
    )
    return run.path


@pytest.fixture
def own_run(finished: Path, tmp_path: Path) -> RunFolder:
    """A copy of the run that a test may change."""
    return RunFolder(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that read a part of a run, in the order of their calls."""
    names: list[str] = []

    def count(module: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(module, name)

        def counted(*args: Any, **given: Any) -> Any:
            names.append(name)
            return original(*args, **given)

        monkeypatch.setattr(module, name, counted)

    count(RunFolder, "read_card")
    count(trained_run_module, "stored_settings")
    count(trained_run_module, "read_dataset")
    count(weights_module, "load_classifier")
    return names


def test_opening_reads_the_card_alone(finished: Path, calls: list[str]) -> None:
    run = TrainedRun.open(finished)
    assert run.card.classes == ("across", "aslant", "down")
    assert calls == ["read_card"]


def test_every_part_is_read_on_first_access_and_only_once(finished: Path, calls: list[str]) -> None:
    run = TrainedRun.open(finished)
    for _ in range(2):
        assert run.settings.arch == "resnet18"
        assert len(run.readable("train")) == len(run.dataset.train) == 48
        assert run.classifier is run.classifier
    assert calls == ["read_card", "stored_settings", "read_dataset", "load_classifier"]


def test_the_network_is_in_eval_mode_and_has_the_weights_of_the_run(finished: Path) -> None:
    run = TrainedRun.open(finished)
    stored = weights_module.read_weights(run.folder.weights)
    assert not run.classifier.training
    assert torch.equal(run.classifier.network.get_parameter("fc.bias"), stored["network.fc.bias"])


def test_opening_a_run_loads_no_torch(finished: Path) -> None:
    code = (
        "import sys\n"
        "from toolchain.runs.trained_run import TrainedRun\n"
        "run = TrainedRun.open(sys.argv[1])\n"
        "assert run.readable('val')\n"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(finished)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unfinished_run_does_not_open(own_run: RunFolder) -> None:
    own_run.weights.unlink()
    with pytest.raises(DataError, match=r"not a finished run: model\.safetensors missing"):
        TrainedRun.open(own_run.path)


def test_a_run_with_a_damaged_card_does_not_open(own_run: RunFolder) -> None:
    own_run.card.write_text("{}")
    with pytest.raises(ModelFileError, match=r"card\.json"):
        TrainedRun.open(own_run.path)


def test_data_that_is_gone_is_an_error_with_the_option_that_says_where(
    own_run: RunFolder, tmp_path: Path
) -> None:
    gone = read_settings(own_run.settings, {"data": str(tmp_path / "gone")})
    own_run.settings.write_text(settings_toml(gone))
    run = TrainedRun.open(own_run.path)
    with pytest.raises(DataError, match="is no longer there") as caught:
        _ = run.dataset
    assert str(tmp_path / "gone") in str(caught.value)
    assert "--data" in str(caught.value.hint)


def test_data_that_were_named_and_are_not_there_are_called_so(own_run: RunFolder) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder") as caught:
        _ = TrainedRun.open(own_run.path, data="nowhere").dataset
    assert "--data" not in str(caught.value.hint)


def test_data_elsewhere_replace_those_of_the_settings(
    own_run: RunFolder, stripes: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(stripes, tmp_path / "moved")
    run = TrainedRun.open(own_run.path, data=str(moved))
    assert run.dataset.root == moved
    assert run.settings.data == str(stripes)


def test_data_of_other_classes_are_refused(
    own_run: RunFolder, stripes: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(stripes, tmp_path / "other")
    for split in ("train", "val"):
        (other / split / "down").rename(other / split / "up")
    with pytest.raises(DataError, match="its classes are not those"):
        _ = TrainedRun.open(own_run.path, data=str(other)).dataset


def test_readable_samples_leave_out_the_files_that_training_could_not_read(
    own_run: RunFolder, stripes: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(stripes, tmp_path / "data")
    names = ("train/down/03.jpg", "val/across/00.jpg")
    for name in names:
        (data / name).write_bytes(b"no image")
    _, audit = audit_dataset(read_dataset(data))
    assert {item.file for item in audit.unreadable} == set(names)
    write_json(own_run.audit, audit)
    run = TrainedRun.open(own_run.path, data=str(data))
    assert run.unreadable == set(names)
    assert len(run.readable("train")) == len(run.dataset.train) - 1
    assert [s for s in run.dataset.val if s not in run.readable("val")] == [
        s for s in run.dataset.val if s.path == data / names[1]
    ]


def test_a_file_that_training_could_not_read_and_that_is_good_now_is_readable(
    own_run: RunFolder, stripes: Path
) -> None:
    _, audit = audit_dataset(read_dataset(stripes))
    damaged = (Unreadable("val/across/00.jpg", "damaged"),)
    write_json(own_run.audit, msgspec.structs.replace(audit, unreadable=damaged))
    run = TrainedRun.open(own_run.path)
    assert run.readable("val") == list(run.dataset.val)


def test_without_an_audit_every_sample_is_readable(own_run: RunFolder) -> None:
    own_run.audit.unlink()
    run = TrainedRun.open(own_run.path)
    assert run.unreadable == frozenset()
    assert run.readable("val") == list(run.dataset.val)


def read_everything(folder: RunFolder) -> None:
    """Read every file that a run's users read."""
    run = TrainedRun.open(folder.path)
    assert run.settings.size == 32
    assert len(run.readable("val")) == 24
    assert not run.classifier.training


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("settings.toml", b""),
        ("settings.toml", b"epochs ="),
        ("settings.toml", b"epochs = 'many'"),
        ("settings.toml", b"[train]\nepochs = 3"),
        ("settings.toml", b"\xff\xfe\x00"),
        ("audit.json", b""),
        ("audit.json", b"{}"),
        ("audit.json", b"[" * 5000),
        ("audit.json", b'{"unreadable": "\xff"}'),
        ("card.json", b"{"),
        ("card.json", b"\xff" * 20),
        ("model.safetensors", b""),
        ("model.safetensors", b"text"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(own_run: RunFolder, name: str, content: bytes) -> None:
    (own_run.path / name).write_bytes(content)
    with pytest.raises((DataError, ModelFileError), match=rf"{name} is damaged") as caught:
        read_everything(own_run)
    assert "copy the run folder again" in str(caught.value.hint)


def test_settings_with_a_byte_order_mark_are_read(own_run: RunFolder) -> None:
    own_run.settings.write_text(own_run.settings.read_text(), encoding="utf-8-sig")
    assert TrainedRun.open(own_run.path).settings.size == 32


def test_a_foreign_model_is_refused_even_where_its_digest_was_put_into_the_card(
    own_run: RunFolder,
) -> None:
    own_run.weights.write_bytes(weights_bytes(build_network("resnet18", 3).state_dict()))
    card = own_run.read_card()
    weights = Weights(card.weights.origin, file_sha256(own_run.weights))
    own_run.write_card(msgspec.structs.replace(card, weights=weights))
    with pytest.raises(DataError, match=r"model\.safetensors is damaged: not a model of"):
        _ = TrainedRun.open(own_run.path).classifier


@pytest.mark.parametrize("command", ["export", "evaluate", "predict"])
def test_weights_of_another_run_are_not_those_of_this_one(
    own_run: RunFolder, command: str, stripes: Path, rtl_here: Rtl
) -> None:
    other = Classifier(build_network("resnet18", 3), IMAGENET_NORMALISATION)
    own_run.weights.write_bytes(weights_bytes(other.state_dict()))
    images = [stripes / "val"] if command == "predict" else []
    done = rtl_here(command, own_run.path, *images)
    assert done.returncode == 3
    assert "error: " in done.stderr
    assert "model.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_from_before_heads_read_several_stages_reads_the_last_one(own_run: RunFolder) -> None:
    card = json.loads(own_run.card.read_text())
    assert card.pop("head_stages") == "last"
    own_run.card.write_text(json.dumps(card))
    lines = own_run.settings.read_text().splitlines()
    own_run.settings.write_text("\n".join(n for n in lines if not n.startswith("head_stages")))
    run = TrainedRun.open(own_run.path)
    assert (run.settings.head_stages, run.card.head_stages) == ("last", "last")
    assert run.classifier.network.get_submodule("fc").in_features == 512


def test_a_card_that_names_other_stages_than_its_weights_have_is_refused_in_one_line(
    own_run: RunFolder, rtl_here: Rtl
) -> None:
    card = json.loads(own_run.card.read_text()) | {"head_stages": "all"}
    own_run.card.write_text(json.dumps(card))
    done = rtl_here("export", own_run.path)
    assert done.returncode == 3
    assert "such as network.fc.weight" in done.stderr
    assert "Traceback" not in done.stderr
