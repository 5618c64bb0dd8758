"""Settings judged with the data's sizes, the device and the number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import Rtl
from toolchain.data.layouts import Dataset, Sample
from toolchain.errors import SettingsError
from toolchain.progress import SilentReporter
from toolchain.runs.settings_file import read_settings
from toolchain.training import feasible
from toolchain.training.feasible import require_device_fits, require_feasible

CPU = torch.device("cpu")


class Lines(SilentReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def samples(split: str, labels: list[int]) -> tuple[Sample, ...]:
    return tuple(Sample(Path(split, f"{i}.png"), label) for i, label in enumerate(labels))


def dataset(
    train: int = 17, val: int = 8, classes: tuple[str, ...] = ("a", "bb"), one: bool = False
) -> Dataset:
    count = len(classes)
    return Dataset(
        root=Path("data"),
        classes=classes,
        train=samples("train", [i % count for i in range(train)]),
        val=samples("val", [0 if one else i % count for i in range(val)]),
        test=(),
        split_by="folders",
    )


def judge(data: Dataset, processes: int = 1, **given: Any) -> list[str]:
    """Return the lines that are reported of settings that can train."""
    fixed = {"weights": "none", "size": 32, "augment": "none", "schedule": "constant"}
    reporter = Lines()
    settings = read_settings(None, {**fixed, **given})
    require_feasible(settings, data, CPU, processes, reporter)
    return reporter.lines


@pytest.mark.parametrize(
    ("given", "train", "processes", "nearest"),
    [
        ({"batch_size": 1}, 17, 1, 2),
        ({"batch_size": 3}, 18, 2, 6),
        ({"batch_size": 8}, 18, 2, 9),
        ({"batch_size": 4}, 18, 3, 6),
    ],
)
def test_a_batch_norm_that_sees_one_value_is_refused_with_the_next_batch_size(
    given: dict[str, Any], train: int, processes: int, nearest: int
) -> None:
    with pytest.raises(SettingsError, match="BatchNorm can't train on it") as caught:
        judge(dataset(train), processes, **given)
    assert caught.value.setting == "batch_size"
    assert caught.value.instead == ({"batch_size": nearest}, {"size": 64})
    for change in caught.value.instead:
        judge(dataset(train), processes, **{**given, **change})


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 1, "size": 64},
        {"batch_size": 1, "weights": "imagenet", "strategy": "head"},
        {"batch_size": 1, "weights": "imagenet", "strategy": "partial", "freeze_until": "17"},
        {"batch_size": 16},  # the last image of 17 is left out
    ],
)
def test_one_image_a_batch_is_taken_where_no_batch_norm_needs_more(given: dict[str, Any]) -> None:
    judge(dataset(17), **given)


def test_the_area_under_the_curve_needs_images_with_and_without_a_class() -> None:
    with pytest.raises(SettingsError, match="metric: auc compares") as caught:
        judge(dataset(val=3, one=True), metric="auc")
    judge(dataset(val=3, one=True), **caught.value.instead[0])


def test_mixing_needs_two_images_a_process() -> None:
    with pytest.raises(SettingsError, match="mixed with itself") as caught:
        judge(dataset(16), processes=4, batch_size=4, mixup=0.2, size=64)
    judge(dataset(16), processes=4, mixup=0.2, size=64, **caught.value.instead[0])


def test_a_step_that_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasible, "memory_limit_bytes", lambda: 2_000_000_000)
    with pytest.raises(SettingsError, match="needs 5 GB for resnet18 alone") as caught:
        judge(dataset(64), batch_size=64, size=448, strategy="full")
    [change] = caught.value.instead
    assert 2 <= change["batch_size"] < 64
    judge(dataset(64), size=448, **change)
    judge(dataset(64), batch_size=64, size=448, weights="imagenet", strategy="head")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"batch_size": 64}, "a step has all 17 training images, not 64"),
        ({"accumulate": 9}, "an epoch has 1 batch, so its one step adds up these and not 9"),
        (
            {"schedule": "plateau", "early_stopping": 3},
            "5 images can't tell a better epoch from a worse one: the rates stay as they are and "
            "no epoch ends the run early",
        ),
    ],
)
def test_what_does_something_else_than_it_says_is_reported(
    given: dict[str, Any], line: str
) -> None:
    assert judge(dataset(17, val=5), **{"batch_size": 17, **given}) == [line]


def test_classes_that_a_mirror_exchanges_are_asked_about_before_training() -> None:
    [line] = judge(dataset(17, classes=("left hand", "right hand")), batch_size=17, augment="s3")
    assert "try --augment none" in line
    assert judge(dataset(17, classes=("left hand", "right hand")), batch_size=17) == []


def test_a_device_without_fp16_is_refused() -> None:
    with pytest.raises(SettingsError, match="precision: fp16 needs a GPU"):
        require_device_fits(read_settings(None, {"precision": "fp16"}), CPU)


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SettingsError, match=r"compile: torch\.compile needs a C\+\+ compiler"):
        require_device_fits(read_settings(None, {"compile": True}), CPU)


@pytest.mark.parametrize(
    "given",
    [("--batch-size", 1), ("--batch-size", 1, "--lr-find")],
)
def test_what_no_image_can_change_is_refused_before_one_is_read(
    given: tuple[object, ...], tmp_path: Path, rtl_here: Rtl
) -> None:
    for label in ("across", "down"):
        for number in range(10):
            file = tmp_path / "data" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"reading this would be another error")
    words = ("--size", 32, "--strategy", "full", "--weights", "none", "-o", tmp_path / "run")
    done = rtl_here("finetune", tmp_path / "data", *words, *given)
    assert (done.returncode, done.stderr.count("error: ")) == (2, 1), done.stderr
    assert "BatchNorm can't train on it" in done.stderr
    assert not (tmp_path / "run").exists()
