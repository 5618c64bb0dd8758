"""Folders of images beside boxes or masks are not taken for classes without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.trees import put, put_classes, refusal
from toolchain.data.layouts import read_dataset
from toolchain.data.other_tasks import kept_for_another_task


@pytest.mark.parametrize(
    "names",
    [
        ("images", "labels"),
        ("JPEGImages", "SegmentationClass", "Annotations"),
        ("imgs", "masks"),
        ("images", "ground-truth"),
        ("Image", "Mask"),
    ],
)
def test_images_beside_boxes_or_masks_are_noted(names: tuple[str, ...], tmp_path: Path) -> None:
    put_classes(tmp_path, *names[:2], count=12)
    (note,) = (n for n in read_dataset(tmp_path).notes if "detection or segmentation" in n)
    assert note.startswith(f"{names[0]}/ beside {names[1]}/ is how data for")
    assert "read as classes" in note


@pytest.mark.parametrize("names", [("cat", "dog"), ("images", "cat"), ("mask", "no mask")])
def test_other_names_are_classes(names: tuple[str, ...]) -> None:
    assert kept_for_another_task(names) is None


def test_folders_of_boxes_are_named_where_there_is_one_class(tmp_path: Path) -> None:
    put_classes(tmp_path, "a/images", "b/train/images", "b/valid/images", "c/images/x")
    put_classes(tmp_path, "c/images/y")
    put(tmp_path, *(f"{d}/labels/0.txt" for d in ("a", "b/train", "b/valid", "c")))
    for name in "abc":
        error = refusal(tmp_path / name)
        assert "only one class, 'images'" in str(error)
        assert "images/ beside labels/ is how data for detection or segmentation" in str(error)
    assert f"did you mean {tmp_path / 'c/images'}?" in str(refusal(tmp_path / "c").hint)


def test_splits_inside_images_are_not_told_to_be_put_below_a_class(tmp_path: Path) -> None:
    put_classes(tmp_path, "images/train", "images/val")
    put(tmp_path, "labels/train/0.txt", "labels/val/0.txt")
    error = refusal(tmp_path)
    assert "images/ beside labels/" in str(error)
    assert "train/CLASS/" in str(error.hint)
