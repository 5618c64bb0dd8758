"""`rtl finetune` refuses data with validation images in train, and leaves out what a list names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Rtl
from tests.data.test_audit import draw
from tests.prediction.pictures import picture
from tests.training.test_finetune import small
from toolchain.checking.check import CheckOptions, check_data
from toolchain.errors import DataError
from toolchain.runs.trained_run import TrainedRun
from toolchain.training.data import read_data
from toolchain.training.distributed import Processes
from toolchain.training.finetune import finetune, resume


class Messages:
    """A reporter that keeps its messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def track(self, items, label, total):  # type: ignore[no-untyped-def]
        return iter(items)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of noise, as JPEG: eight training and four validation images each."""
    for first, label in ((0, "down"), (50, "up")):
        for split, numbers in (("train", range(8)), ("val", range(8, 12))):
            for number in numbers:
                draw(tmp_path / "data" / split / label / f"{number}.jpg", first + number)
    return tmp_path / "data"


@pytest.fixture
def leaking(data: Path) -> Path:
    """That with two validation images in train: one by its bytes, one by its pixels."""
    shutil.copy(data / "val/down/8.jpg", data / "train/down/copied.jpg")
    Image.open(data / "val/up/9.jpg").save(data / "train/up/saved.png")
    return data


def test_the_same_image_in_two_splits_is_refused_with_what_to_do(
    leaking: Path, tmp_path: Path
) -> None:
    before = sorted(leaking.rglob("*"))
    with pytest.raises(DataError, match="2 images stand in more than one split") as caught:
        finetune(small(leaking), tmp_path / "run")
    assert "--fix-list leaks.csv" in str(caught.value.hint)
    assert "--allow-leaks" in str(caught.value.hint)
    assert not (tmp_path / "run").exists()
    assert sorted(leaking.rglob("*")) == before


def test_what_looks_the_same_in_two_splits_is_counted_and_trained_on(
    data: Path, tmp_path: Path
) -> None:
    for name in ("9.jpg", "10.jpg"):
        Image.open(data / "val/up" / name).resize((150, 150)).save(data / "train/up" / f"L{name}")
    messages = Messages()
    _, audit = read_data(small(data), tmp_path / "run", Processes(), messages)
    assert len(audit.near_leaks) == 2
    [line] = [line for line in messages.lines if "look the same" in line]
    assert "2 groups of images that look the same in more than one split" in line


def test_a_run_without_the_leaks_is_evaluated_and_resumed_without_them(
    leaking: Path, tmp_path: Path
) -> None:
    fix_list = tmp_path / "fix.csv"
    check_data(str(leaking), CheckOptions(fix_list=str(fix_list)))
    made = finetune(small(leaking, exclude=str(fix_list)), tmp_path / "run")
    assert made.dataset.excluded == ("train/down/copied.jpg", "train/up/saved.png")
    assert (len(made.dataset.train), made.audit.leaks) == (16, ())
    fix_list.unlink()  # the run has the names itself
    run = TrainedRun.open(tmp_path / "run")
    assert len(run.dataset.train) == 16
    with pytest.raises(Exception, match="has finished"):
        resume(tmp_path / "run")


def test_leaks_are_trained_on_if_told_so(leaking: Path, tmp_path: Path) -> None:
    settings = small(leaking, allow_leaks=True)
    dataset, audit = read_data(settings, tmp_path / "run", Processes(), Messages())
    assert (len(dataset.train), len(audit.leaks)) == (18, 2)


def test_the_command_refuses_with_status_3(rtl_here: Rtl, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for label, number in (("a", 0), ("b", 1)):
            picture(tmp_path / "data" / split / label / "1.png", number)
    done = rtl_here("finetune", "data", "--weights", "none", "--device", "cpu")
    assert done.returncode == 3
    assert "error: data: 2 images stand in more than one split" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("hint: rtl data check data --fix-list leaks.csv")
