"""The one walk over folders that training data and `rtl predict` share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolchain.data.layouts import read_dataset
from toolchain.data.walk import images_under, is_image_name, walk_files
from toolchain.prediction.inputs import Inputs

IMAGES = (
    "a/1.jpg",
    "a/b/2.PNG",
    "a/b.png",
    "a.jpg",
    "dangling.png",
    "folder.jpg/3.webp",
    "linked.jpg",
    "loop.gif",
    "two..jpeg",
    "Ä/4.tif",
    "\udcff/5.bmp",
)
"""In the order of `sorted` on the paths."""


@pytest.fixture
def tricky(tmp_path: Path) -> Path:
    """A folder with images, and all that may lie beside them except pipes."""
    root = tmp_path / "root"
    others = (".hidden/6.jpg", "a/.7.jpg", "jpg", "notes.txt", "dot.", "a/raw.cr2", "empty.txt/8")
    for name in (*IMAGES, *others):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name not in ("dangling.png", "linked.jpg", "loop.gif"):
            path.touch()
    (root / "dangling.png").symlink_to("gone.png")
    (root / "linked.jpg").symlink_to("a/1.jpg")
    (root / "loop.gif").symlink_to("loop.gif")
    (root / "parent").symlink_to("..")
    (root / "parent.jpg").symlink_to("..")
    return root


def test_training_and_predict_list_the_same_images_of_a_tricky_tree(tricky: Path) -> None:
    expected = [tricky / name for name in IMAGES]
    assert expected == sorted(expected)
    assert list(images_under(tricky)) == expected
    assert [image.source for image in Inputs([str(tricky)])] == expected
    assert [image.source for image in Inputs([f"{tricky}/**"])] == expected


def test_training_lists_pipes_for_the_audit_and_predict_leaves_them_out(tricky: Path) -> None:
    os.mkfifo(tricky / "pipe.jpg")
    assert tricky / "pipe.jpg" in images_under(tricky)
    assert [image.source for image in Inputs([str(tricky)])] == [tricky / name for name in IMAGES]


def test_data_set_has_the_images_of_its_class_folders(tricky: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "data" / split / "other").mkdir(parents=True)
        (tmp_path / "data" / split / "other" / "1.jpg").touch()
        (tmp_path / "data" / split / "tricky").symlink_to(tricky)
    dataset = read_dataset(tmp_path / "data")
    names = [dataset.name_of(sample.path) for sample in dataset.train if sample.label == 1]
    # Bytes that are not UTF-8 are escaped in the names that a result shows.
    assert names == [f"train/tricky/{name}".replace("\udcff", "\\xff") for name in IMAGES]


def test_depth_is_the_number_of_names_below_the_root(tricky: Path) -> None:
    for depth in (1, 2, 3):
        walked = walk_files(tricky, is_image_name, depth=depth)
        expected = [name.split("/") for name in IMAGES if name.count("/") < depth]
        assert [names for _, names in walked] == expected


def test_folder_is_listed_when_the_walk_comes_to_it(tricky: Path) -> None:
    walked = images_under(tricky)
    assert next(walked) == tricky / "a" / "1.jpg"
    (tricky / "Ä" / "new.jpg").touch()
    assert tricky / "Ä" / "new.jpg" in walked


def test_folder_that_cannot_be_listed_is_reported_and_the_rest_is_walked(tricky: Path) -> None:
    unlisted: list[tuple[Path, int | None]] = []

    def report(folder: Path, error: OSError) -> None:
        unlisted.append((folder, error.errno))

    (tricky / "Ä" / "4.tif").unlink()
    walked = images_under(tricky, on_unlisted=report)
    assert next(walked) == tricky / "a" / "1.jpg"
    (tricky / "Ä").rmdir()
    assert list(walked)[-1] == tricky / "\udcff/5.bmp"
    assert unlisted == [(tricky / "Ä", 2)]
