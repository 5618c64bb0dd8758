"""`rtl data check`, and what `predict` says about files that it passes over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Rtl
from tests.data.test_audit import draw
from tests.data.trees import put
from tests.prediction.pictures import tiny_model_file


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of pictures, and what lies among them on a telephone."""
    for first, label in ((30, "cat"), (40, "dog")):
        for number in range(6):
            draw(tmp_path / "photos" / label / f"{number}.png", first + number)
    put(tmp_path / "photos", *(f"cat/IMG_{n}.HEIC" for n in range(9)), "owl/1.cr2", "loose.jpg")
    return tmp_path / "photos"


def test_data_check_lists_what_is_left_out(rtl_here: Rtl, photos: Path) -> None:
    done = rtl_here("data", "check", photos)
    assert done.returncode == 0
    assert "cat  .heic" in done.stdout
    assert "9 .heic, 1 .cr2, 1 class without images, 1 image in no class folder" in done.stdout
    found = json.loads(rtl_here("data", "check", photos, "--json").stdout)
    assert {"place": "cat", "kind": ".heic", "reason": "no image by its ending", "count": 9,
            "first": "cat/IMG_0.HEIC"} in found["left_out"]  # fmt: skip
    assert found["notes"] == []


def test_the_list_of_unreadable_files_comes_before_the_verdict(rtl_here: Rtl, photos: Path) -> None:
    for path in (photos / "dog").iterdir():
        path.write_bytes(b"damaged")
    done = rtl_here("data", "check", photos)
    assert done.returncode == 3
    assert "dog/5.png  text, not an image" in done.stdout
    assert "no readable training image in dog" in done.stderr
    assert "rtl data check" not in done.stderr  # which was just run
    assert len(json.loads(rtl_here("data", "check", photos, "--json").stdout)["unreadable"]) == 6


def test_the_split_that_is_asked_for_is_in_the_next_command(rtl_here: Rtl, photos: Path) -> None:
    words = ("--split-ratio", "8:2", "--split-seed", "3")
    done = rtl_here("data", "check", photos, *words)
    assert "files, split 8:2 by a stable hash of each file's name, seed 3" in done.stdout
    assert done.stderr.splitlines()[-1].endswith("--split-ratio 8:2 --split-seed 3")
    assert rtl_here("data", "check", photos, "--split-ratio", "8").returncode == 2


def test_predict_counts_what_it_passes_over_in_a_folder(
    rtl_here: Rtl, photos: Path, tmp_path: Path
) -> None:
    model = tiny_model_file(tmp_path)
    done = rtl_here("predict", model, photos, "-o", "rows.jsonl")
    assert "left out as no images by their ending: 9 .heic, 1 .cr2" in done.stderr
    (photos / "owl").rename(tmp_path / "owl")
    done = rtl_here("predict", model, "owl")
    assert done.returncode == 4
    assert "owl: no images in this folder" in done.stderr
    assert "passed over: 1 .cr2" in done.stderr


def test_the_same_image_in_two_classes_ends_with_status_10_after_the_table(
    rtl_here: Rtl, photos: Path, tmp_path: Path
) -> None:
    for label in ("cat", "dog"):
        draw(photos / label / "same.png", 99)
    done = rtl_here("data", "check", photos)
    assert done.returncode == 10
    assert "the same image with different classes (label conflicts)" in done.stdout
    assert "1 image with different classes" in done.stderr
    assert f"hint: rtl data check {photos} --fix-list fix.csv" in done.stderr
    done = rtl_here("data", "check", photos, "--json", "--fix-list", "fix.csv")
    assert (done.returncode, len(json.loads(done.stdout)["label_conflicts"])) == (10, 1)
    done = rtl_here("data", "check", photos, "--exclude", "fix.csv")
    assert done.returncode == 0
    assert "2 images on the list of --exclude" in done.stdout
    assert done.stderr.splitlines()[-1] == f"next: rtl finetune {photos} --exclude fix.csv"
