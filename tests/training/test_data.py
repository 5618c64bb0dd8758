"""What training reports of its data before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.data.trees import put
from tests.prediction.pictures import picture
from toolchain.errors import DataError
from toolchain.progress import SilentReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.data import read_data
from toolchain.training.distributed import Processes


class Messages(SilentReporter):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of pictures, and a telephone's files among them."""
    for label, side in (("cat", 20), ("dog", 30)):
        for number in range(6):
            file = picture(tmp_path / "photos" / label / f"{number}.png")
            Image.new("RGB", (20 + number, side)).save(file)  # no two are the same
    return put(tmp_path / "photos", *(f"cat/IMG_{n}.HEIC" for n in range(9)), ".DS_Store")


def reported(photos: Path) -> list[str]:
    progress = Messages()
    settings = FinetuneSettings(data=str(photos), split_ratio="2:1")
    read_data(settings, photos.parent / "run", Processes(), progress)
    return progress.lines


def test_what_is_left_out_and_the_split_are_reported(photos: Path) -> None:
    first, *others = reported(photos)
    assert "2 classes; 9 train, 3 val, 0 test (2:1 by a stable hash" in first
    [line] = [line for line in others if line.startswith("left out")]
    assert "9 .heic in cat), first cat/IMG_0.HEIC" in line


def test_files_that_cannot_be_read_are_reported_before_the_verdict(photos: Path) -> None:
    for path in (photos / "dog").iterdir():
        path.write_bytes(b"damaged")
    progress = Messages()
    with pytest.raises(DataError, match="no readable training image in dog"):
        read_data(FinetuneSettings(data=str(photos)), Path("run"), Processes(), progress)
    assert any(line.startswith("left out 6 unreadable files") for line in progress.lines)
