from __future__ import annotations

import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.training.features.kept import RecordingReporter
from toolchain.errors import TrainingError
from toolchain.files import write_bytes
from toolchain.networks.resnet import State
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.training import checkpoints
from toolchain.training.checkpoints import Checkpoint, Checkpoints, run_lock
from toolchain.training.starting_weights import require_same_start

TENSORS: State = {
    "odd": torch.tensor([0.1, -0.0, 1e-45, math.inf, math.nan]),
    "counter": torch.tensor(2**40),
    "scalar": torch.tensor(3.5),
    "bytes": torch.arange(6, dtype=torch.uint8).reshape(2, 3),
}
RECORD: dict[str, Any] = {
    "best": -math.inf,
    "worst": math.inf,
    "third": 0.1 + 0.2,
    "history": [{"epoch": 1, "val_auc": None, "rates": [1e-3, 5e-324]}],
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    return run


def names(run: RunFolder) -> set[str]:
    return {file.name for file in run.checkpoints.iterdir()}


def test_a_checkpoint_comes_back_bit_for_bit(run: RunFolder) -> None:
    Checkpoints(run).save(7, Checkpoint(TENSORS, RECORD))
    found = Checkpoints(run).load()
    assert found is not None
    tensors, record = found
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (tensors[name].dtype, tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert tensors[name].numpy().tobytes() == tensor.numpy().tobytes()
    assert {name: record[name] for name in RECORD} == RECORD


def test_without_a_checkpoint_none_is_loaded(run: RunFolder) -> None:
    assert Checkpoints(run).load() is None
    assert Checkpoints(run).load_start() is None
    run.checkpoints.rmdir()
    assert Checkpoints(run).load() is None


def test_a_checkpoint_replaces_older_ones(run: RunFolder) -> None:
    for epoch in (1, 2, 10):
        Checkpoints(run).save(epoch, Checkpoint(TENSORS, {"stage": epoch}))
    assert names(run) == {"epoch-0010.safetensors", "epoch-0010.json"}
    found = Checkpoints(run).load()
    assert found is not None
    assert found[1]["stage"] == 10


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def flip_last_bit(file: Path) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)


def edit(file: Path) -> None:
    file.write_text(file.read_text().replace('"stage": 2', '"stage": 3'))


def replace_by_a_list(file: Path) -> None:
    file.write_text("[1, 2]")


def replace_by_a_number(file: Path) -> None:
    file.write_text("0")


def cut_to_an_object(file: Path) -> None:
    file.write_text("{}")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("epoch-0002.safetensors", truncate),
        ("epoch-0002.safetensors", flip_last_bit),
        ("epoch-0002.safetensors", Path.unlink),
        ("epoch-0002.json", Path.unlink),
        ("epoch-0002.json", truncate),
        ("epoch-0002.json", edit),
        ("epoch-0002.json", replace_by_a_list),
        ("epoch-0002.json", cut_to_an_object),
        ("epoch-0002.json", replace_by_a_number),
    ],
)
def test_a_damaged_checkpoint_is_skipped(run: RunFolder, name: str, damage: Any) -> None:
    saved = Checkpoints(run)
    saved.save(1, Checkpoint(TENSORS, {"stage": 1}))
    older = {file.name: file.read_bytes() for file in run.checkpoints.iterdir()}
    saved.save(2, Checkpoint(TENSORS, {"stage": 2}))
    damage(run.checkpoints / name)
    assert saved.load() is None
    for file, data in older.items():
        (run.checkpoints / file).write_bytes(data)
    found = saved.load()
    assert found is not None
    assert found[1]["stage"] == 1


def test_a_full_disk_leaves_the_previous_checkpoint(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Checkpoints(run).save(1, Checkpoint(TENSORS, {"stage": 1}))
    before = names(run)

    def write_some(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_some)
    with pytest.raises(OSError, match="No space left"):
        Checkpoints(run).save(2, Checkpoint(TENSORS, {"stage": 2}))
    assert names(run) == before
    found = Checkpoints(run).load()
    assert found is not None
    assert found[1]["stage"] == 1


def test_writing_takes_at_most_a_twentieth_of_the_time(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]

    def slow_write(path: Path, data: bytes, *, durable: bool) -> None:
        write_bytes(path, data, durable=durable)
        clock[0] += 1.5

    monkeypatch.setattr("toolchain.training.checkpoints.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(checkpoints, "write_bytes", slow_write)
    saved = Checkpoints(run)
    assert saved.due()
    saved.save(1, Checkpoint(TENSORS, RECORD))  # two files, 3 s
    clock[0] += 56
    assert not saved.due()
    clock[0] += 4
    assert saved.due()


def test_the_frozen_weights_come_back_bit_for_bit(run: RunFolder) -> None:
    saved = Checkpoints(run)
    assert saved.load_start() is None
    saved.save_start(TENSORS, "file weights.pth")
    start = saved.load_start()
    assert start is not None
    frozen, origin = start
    assert origin == "file weights.pth"
    assert {n: t.numpy().tobytes() for n, t in frozen.items()} == {
        n: t.numpy().tobytes() for n, t in TENSORS.items()
    }


@pytest.mark.parametrize("name", ["start.json", "start.safetensors"])
@pytest.mark.parametrize("damage", [truncate, Path.unlink, flip_last_bit])
def test_incomplete_frozen_weights_are_not_loaded(run: RunFolder, name: str, damage: Any) -> None:
    Checkpoints(run).save_start(TENSORS, "file weights.pth")
    damage(run.checkpoints / name)
    assert Checkpoints(run).load_start() is None


def test_a_run_is_locked_by_one_process_at_a_time(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with (
        run_lock(run),
        pytest.raises(TrainingError, match=f"{tmp_path} is being trained by another process"),
        run_lock(run),
    ):
        pass
    with run_lock(run):
        pass


def test_frozen_weights_of_another_run_are_not_loaded(run: RunFolder, tmp_path: Path) -> None:
    other = RunFolder(tmp_path / "other")
    other.checkpoints.mkdir(parents=True)
    Checkpoints(run).save_start(TENSORS, "imagenet")
    Checkpoints(other).save_start({"odd": torch.zeros(5)}, "imagenet")
    (other.checkpoints / "start.safetensors").rename(run.checkpoints / "start.safetensors")
    assert Checkpoints(run).load_start() is None


def test_a_run_does_not_go_on_with_other_frozen_weights(run: RunFolder) -> None:
    saved, settings = Checkpoints(run), FinetuneSettings(data="photos")
    require_same_start(saved, TENSORS, settings)  # nothing is known
    saved.save_start(TENSORS, "imagenet")
    require_same_start(saved, TENSORS, settings)
    with pytest.raises(TrainingError, match="other weights than those that this run began with"):
        require_same_start(saved, {**TENSORS, "scalar": torch.tensor(3.0)}, settings)


def test_a_disk_without_room_for_a_checkpoint_is_reported_once(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, progress = Checkpoints(run), RecordingReporter()
    assert saved.has_room(TENSORS, progress)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_900_000))
    assert not any(saved.has_room(TENSORS, progress) for _ in range(2))
    assert len(progress.lines) == 1
    assert "no room for a checkpoint: it takes 2.0 MB, and 1.9 MB are free" in progress.text


def test_a_run_that_can_not_be_written_is_an_error_of_one_line(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    with (
        pytest.raises(TrainingError, match="can't be written: read-only file system"),
        run_lock(run),
    ):
        pass
