"""What the names of classes and the splits may get wrong."""

from __future__ import annotations

from pathlib import Path

from tests.data.trees import put, put_classes, refusal
from toolchain.data.layouts import read_dataset
from toolchain.data.splits import Splitting


def test_names_that_differ_in_case_or_blanks_are_noted(tmp_path: Path) -> None:
    put_classes(tmp_path, "Tee", "tee", "ice cream", "ice_cream", "nut", count=12)
    assert read_dataset(tmp_path).notes == (
        "classes whose names differ in case or blanks only: 'Tee', 'tee'",
        "classes whose names differ in case or blanks only: 'ice cream', 'ice_cream'",
    )


def test_a_class_of_val_that_train_writes_otherwise_is_refused_with_that_name(
    tmp_path: Path,
) -> None:
    put_classes(tmp_path, "train/Tee", "train/nut", "val/tee", "val/nut")
    error = refusal(tmp_path)
    assert "val has classes that train lacks: tee" in str(error)
    assert "train has 'Tee'" in str(error.hint)


def test_classes_without_validation_images_are_noted(tmp_path: Path) -> None:
    put_classes(tmp_path, "train/a", "train/b", "train/c", "val/a", "test/b", "test/c")
    assert read_dataset(tmp_path).notes == ("val has no image of b, c", "test has no image of a")


def test_settings_of_the_split_are_noted_where_the_data_has_its_own(tmp_path: Path) -> None:
    put_classes(tmp_path, "train/a", "train/b", "val/a", "val/b")
    [note] = read_dataset(tmp_path, splitting=Splitting("8:2", seed=4)).notes
    assert note == "split_ratio 8:2 and split_seed 4: not used, the data has splits of its own"


def test_groups_that_are_torn_by_the_tables_own_splits_are_noted(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    rows = ("1.jpg,a,train,p1", "2.jpg,b,train,p2", "3.jpg,a,val,p1", "4.jpg,b,val,p3")
    (tmp_path / "labels.csv").write_text("\n".join(["image,label,split,patient", *rows]))
    notes = read_dataset(tmp_path, splitting=Splitting(group_column="patient")).notes
    assert notes == ("groups of images that are in more than one split: 1, first p1",)
