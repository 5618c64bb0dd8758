"""Folders are splits or classes by what they hold, and what is neither is named."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from tests.data.trees import files_of, left_out, put, put_classes, refusal
from toolchain.data.layouts import read_dataset


def test_folders_called_like_sets_are_splits(tmp_path: Path) -> None:
    put_classes(tmp_path, *(f"{s}_set/{c}" for s in ("training", "dev", "test") for c in "ab"))
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("a", "b")
    assert [len(dataset.split(s)) for s in ("train", "val", "test")] == [6, 6, 6]
    assert dataset.split_by == "the folders training_set/, dev_set/, test_set/"


@pytest.mark.parametrize("names", [("train", "test", "valid"), ("train", "bus"), ("dev", "test")])
def test_folders_called_like_splits_that_hold_images_are_classes(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    put_classes(tmp_path, *names, count=12)
    dataset = read_dataset(tmp_path)
    assert set(dataset.classes) == set(names)
    assert bool(dataset.notes) == ("bus" not in names)  # where all are, it is said


def test_classes_called_like_splits_inside_splits_are_classes(tmp_path: Path) -> None:
    put_classes(
        tmp_path, *(f"{split}/{name}" for split in ("train", "val") for name in ("test", "train"))
    )
    assert read_dataset(tmp_path).classes == ("test", "train")


def test_what_stands_beside_the_splits_is_named(tmp_path: Path) -> None:
    put_classes(tmp_path, "train/a", "train/b", "val/a", "val/b", "dev/a", "extra/a")
    put(tmp_path, "loose.jpg", "train/loose.jpg", "train/empty/notes.txt", "README")
    (tmp_path / "train/a/more").symlink_to("../b")
    (tmp_path / "val/up").symlink_to("..")
    assert left_out(read_dataset(tmp_path)) == {
        (".", "folder", "another one for its split"): 1,
        (".", "folder", "no split by its name"): 1,
        (".", "image", "in no class folder"): 1,
        (".", "no ending", "no image by its ending"): 1,
        ("train", "image", "in no class folder"): 1,
        ("train", "folder", "a class without images"): 1,
        ("train/empty", ".txt", "no image by its ending"): 1,
        ("train/a", "folder", "a link to a folder"): 1,
        ("val", "folder", "a link to a folder"): 1,
    }


def test_files_that_are_no_images_are_counted_by_kind_and_class(tmp_path: Path) -> None:
    put_classes(tmp_path, "a", "b", "b/deep", count=12)
    put(tmp_path, *(f"a/IMG_{n}.HEIC" for n in range(9)), "b/deep/1.CR2", "b/x", "b/.DS_Store")
    put(tmp_path, "b/.hidden.jpg", "b/.cache/1.jpg", "b/@eaDir/1.jpg", "c/1.heic")
    dataset = read_dataset(tmp_path)
    assert left_out(dataset) == {
        ("a", ".heic", "no image by its ending"): 9,
        ("b", ".cr2", "no image by its ending"): 1,
        ("b", "no ending", "no image by its ending"): 1,
        ("b", "file", "hidden"): 1,
        ("b", "image", "hidden"): 1,
        ("b", "folder", "hidden"): 2,
        ("c", ".heic", "no image by its ending"): 1,
        (".", "folder", "a class without images"): 1,
    }
    assert {e.first for e in dataset.left_out if e.kind == ".heic"} == {"a/IMG_0.HEIC", "c/1.heic"}


def test_a_class_of_nothing_but_other_files_is_in_the_error(tmp_path: Path) -> None:
    put_classes(tmp_path, "a", count=12)
    put(tmp_path, *(f"b/{n}.heic" for n in range(12)))
    error = refusal(tmp_path)
    assert "only one class, 'a'" in str(error)
    assert "left out: 12 .heic, 1 class without images" in str(error)
    assert "rtl-toolchain[heif]" in str(error.hint)


@pytest.mark.parametrize("below", ["dataset", "x/y/dataset"])
@pytest.mark.parametrize("splits", [("",), ("train/", "val/")])
def test_a_folder_above_the_data_gets_the_right_one_as_a_hint(
    below: str, splits: tuple[str, ...], tmp_path: Path
) -> None:
    put_classes(tmp_path, *(f"{below}/{split}{name}" for split in splits for name in "ab"))
    assert f"did you mean {tmp_path / below}?" in str(refusal(tmp_path).hint)


def test_the_folder_of_one_class_gets_the_one_above_as_a_hint(tmp_path: Path) -> None:
    put_classes(tmp_path, "data/a", "data/b")
    error = refusal(tmp_path / "data" / "a")
    assert "3 images in no class folder" in str(error)
    assert f"did you mean {tmp_path / 'data'}?" in str(error.hint)


def test_folders_that_all_hold_the_same_folders_are_refused(tmp_path: Path) -> None:
    put_classes(tmp_path, *(f"{fold}/{name}" for fold in ("fold1", "fold2") for name in "ab"))
    error = refusal(tmp_path)
    assert "fold1/, fold2/ all hold folders called a, b, so they look like splits" in str(error)


@pytest.mark.parametrize("inner", [("2023", "2024"), ("images",)])
def test_classes_may_sort_their_images_into_folders(inner: tuple[str, ...], tmp_path: Path) -> None:
    put_classes(tmp_path, *(f"{name}/{folder}" for name in "ab" for folder in inner))
    assert read_dataset(tmp_path).classes == ("a", "b")


def test_splits_inside_of_classes_are_refused_with_the_other_order(tmp_path: Path) -> None:
    put_classes(tmp_path, *(f"{name}/{split}" for name in "ab" for split in ("train", "test")))
    error = refusal(tmp_path)
    assert "the class folder a/ holds the splits test/, train/" in str(error)
    assert "train/a/, not a/train/" in str(error.hint)


def test_a_split_given_as_the_data_is_noted(tmp_path: Path) -> None:
    put_classes(tmp_path, "train/a", "train/b", "val/a", "val/b")
    [note] = read_dataset(tmp_path / "train").notes
    assert f"to use those, give {tmp_path}" in note


def test_both_ways_to_write_an_accent_are_one_class(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    put_classes(tmp_path, f"train/{composed}", "train/tea", f"val/{decomposed}", "val/tea")
    put(tmp_path, f"train/{decomposed}/9.jpg")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == (composed, "tea")
    assert set(files_of(dataset, "val").values()) == {composed, "tea"}
    assert len(dataset.train) == 7


def test_a_name_that_is_not_unicode_is_a_class_that_can_be_written(tmp_path: Path) -> None:
    put_classes(tmp_path, "train/\udcff", "train/a", "val/a")
    assert read_dataset(tmp_path).classes == ("\\xff", "a")
