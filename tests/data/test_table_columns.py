"""Tables of one class an image: the columns that people's CSVs have."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from tests.data.trees import files_of, left_out, put, put_classes, refusal
from toolchain.data.layouts import read_dataset
from toolchain.data.splits import Splitting
from toolchain.errors import DataError


def write(root: Path, *lines: str, name: str = "train.csv") -> Path:
    """Write a table."""
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root / name


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("image,label", "{0}.jpg,{1}"),
        ("filename,class", "{0}.jpg,{1}"),
        ("id,label", "{0},{1}"),
        ("id,breed", "{0},{1}"),
        ("label,image", "{1},{0}.jpg"),
        (",path,animal", "7,images/{0}.jpg,{1}"),
        ("image_id,width,category", "{0},640,{1}"),
        ("image\tlabel", "{0}.jpg\t{1}"),
        ("image;label", "{0}.jpg;{1}"),
        ('"image","label"', '"{0}.jpg","{1}"'),
        ("images/x.jpg,cat", "images/{0}.jpg,{1}"),
    ],
)
def test_a_table_of_one_class_an_image_is_read(header: str, row: str, tmp_path: Path) -> None:
    put_classes(tmp_path, "images", count=12)
    put(tmp_path, "images/x.jpg")
    table = write(tmp_path, header, *(row.format(n, "cat" if n % 2 else "dog") for n in range(12)))
    for path in (tmp_path, table):
        dataset = read_dataset(path)
        found = files_of(dataset, "train") | files_of(dataset, "val")
        expected = {f"images/{n}.jpg": "cat" if n % 2 else "dog" for n in range(12)}
        assert dataset.classes == ("cat", "dog")
        assert found.items() >= expected.items()


def test_the_folder_of_the_split_decides_between_images_of_the_same_name(tmp_path: Path) -> None:
    put_classes(tmp_path, "train", "test", count=8)
    write(tmp_path, "id,label", *(f"{n},{'cat' if n % 2 else 'dog'}" for n in range(8)))
    write(tmp_path, "id,width", *(f"{n},640" for n in range(8)), name="test.csv")
    dataset = read_dataset(tmp_path)
    found = files_of(dataset, "train") | files_of(dataset, "val")
    assert sorted(found) == [f"train/{n}.jpg" for n in range(8)]
    assert left_out(dataset) == {
        (".", "file", "without labels"): 1,
        ("test", ".jpg", "in no list"): 8,
    }
    assert "train.csv: 8 images were found by their name alone" in dataset.notes


def test_columns_that_are_not_used_are_noted(tmp_path: Path) -> None:
    put_classes(tmp_path, "i", count=8)
    write(tmp_path, "id,label,age", *(f"{n},{'cat' if n % 2 else 'dog'},7" for n in range(8)))
    assert "train.csv: columns that are not used: age" in read_dataset(tmp_path).notes


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        (["id,red,green", "1,0,1"], "which of red, green is the class?", "--task multi-label"),
        (["id", "1"], "'id' has no column of labels", "image and label"),
        (["id,label", "1,cat|dog"], "'cat|dog' are several classes", "--task multi-label"),
        (["id,label", "1,"], "no class in column 'label'", "--task multi-label"),
        (["id,label", "9,cat"], "line 2: ", "files are relative to"),
    ],
)
def test_a_table_that_cannot_be_read_says_which_form_is_meant(
    lines: list[str], message: str, hint: str, tmp_path: Path
) -> None:
    put_classes(tmp_path, "i", count=3)
    write(tmp_path, *lines)
    error = refusal(tmp_path)
    assert message in str(error)
    assert hint in str(error.hint)


def test_images_of_one_group_stay_in_one_split(tmp_path: Path) -> None:
    put_classes(tmp_path, "i", count=200)
    rows = [f"{n}.jpg,{'cat' if n // 5 % 2 else 'dog'},{n // 5}" for n in range(200)]
    table = write(tmp_path, "image,label,object", *rows, name="labels.csv")
    dataset = read_dataset(table, splitting=Splitting(group_column="object"))
    splits_of = defaultdict(set)
    for split in ("train", "val", "test"):
        for sample in dataset.split(split):
            splits_of[int(sample.path.stem) // 5].add(split)
    assert len(splits_of) == 40
    assert all(len(found) == 1 for found in splits_of.values())
    assert len(dataset.val) >= 5
    assert "column 'object'" in dataset.split_by


def test_a_group_column_that_does_not_exist_is_refused_with_the_others(tmp_path: Path) -> None:
    put_classes(tmp_path, "a", "b", count=4)
    table = write(tmp_path, "image,label", "a/0.jpg,a", "b/0.jpg,b")
    by_object = Splitting(group_column="object")
    with pytest.raises(DataError, match="no column 'object'; it has image, label"):
        read_dataset(table, splitting=by_object)
    with pytest.raises(DataError, match="is no table, so it has no column 'object'"):
        read_dataset(tmp_path, splitting=by_object)
