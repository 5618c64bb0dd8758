"""Which photographs of a target folder are used, and what is said of the others."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from tests.conftest import draw_stripes
from toolchain.data.audit import audit_dataset
from toolchain.data.layouts import Dataset, read_dataset
from toolchain.errors import DataError
from toolchain.progress import SilentReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.alignment.images import (
    UNKNOWN,
    TargetImages,
    read_target_images,
    require_same_target,
    write_alignment,
)


class Said(SilentReporter):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def dataset(stripes: Path) -> Dataset:
    return audit_dataset(read_dataset(stripes))[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(21):
        label = ("across", "aslant", "down")[number % 3]
        draw_stripes(tmp_path / "target" / f"{number:02}.jpg", label, 7000 + number)
    return tmp_path / "target"


def read(folder: Path, dataset: Dataset, align: str = "bn") -> tuple[TargetImages, list[str]]:
    settings = FinetuneSettings(target=str(folder))
    settings = msgspec.structs.replace(settings, align=align)
    said = Said()
    target = read_target_images(settings, dataset, said)
    assert target is not None
    return target, said.lines


def test_copies_unreadable_files_and_training_images_are_left_out_and_counted(
    folder: Path, dataset: Dataset
) -> None:
    shutil.copy(folder / "00.jpg", folder / "again.jpg")
    shutil.copy(dataset.train[0].path, folder / "known.jpg")
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "photo.raw").write_bytes(b"raw")
    target, lines = read(folder, dataset)
    assert len(target.samples) == 21
    text = "\n".join(lines)
    assert "1 unreadable file, first broken.jpg" in text
    assert "1 image of the data set itself" in text
    assert "1 image with the content of another" in text
    assert ".raw" in text


def test_labels_of_images_that_are_left_out_are_counted(folder: Path, dataset: Dataset) -> None:
    known = dataset.train[0]
    shutil.copy(known.path, folder / "known.jpg")
    (folder / "broken.jpg").write_bytes(b"no image")
    assert isinstance(known.label, int)
    name = dataset.classes[known.label]
    rows = f"file,label\nknown.jpg,{name}\nbroken.jpg,{name}\n00.jpg,across\n"
    (folder / "labels.csv").write_text(rows)
    target, lines = read(folder, dataset)
    assert len(target.labelled) == 1
    assert "among these 2 of the 3 photographs in labels.csv" in lines


def test_labels_of_the_table_are_those_of_the_classes(folder: Path, dataset: Dataset) -> None:
    (folder / "labels.csv").write_text("file,label\n00.jpg,across\n02.jpg,down\n")
    target, lines = read(folder, dataset)
    labels = {sample.path.name: sample.label for sample in target.samples}
    assert {name: label for name, label in labels.items() if label != UNKNOWN} == {
        "00.jpg": 0,
        "02.jpg": 2,
    }
    assert "21 images of the other camera, 2 with a label" in lines[-2]
    assert lines[-1].startswith("no labelled photograph of aslant: ")


def test_a_photograph_that_the_table_names_by_another_path_is_no_copy(
    folder: Path, dataset: Dataset
) -> None:
    (folder.parent / "link").symlink_to(folder)
    rows = f"{folder.resolve()}/00.jpg,across\n{folder}/../link/02.jpg,down\n"
    (folder / "labels.csv").write_text(f"file,label\n{rows}")
    target, lines = read(folder.parent / "link", dataset)
    assert (len(target.samples), len(target.labelled)) == (21, 2)
    assert not any("left out" in line for line in lines)


def test_two_paths_to_one_photograph_have_one_label(folder: Path, dataset: Dataset) -> None:
    rows = f"00.jpg,across\n{folder.resolve()}/../target/00.jpg,down\n"
    (folder / "labels.csv").write_text(f"file,label\n{rows}")
    with pytest.raises(DataError):
        read(folder, dataset)


@pytest.mark.parametrize(
    ("label", "hint"),
    [("Across", "did you mean 'across'?"), ("zebra", "it knows across, aslant, down")],
)
def test_an_unknown_class_is_refused_with_the_one_that_may_be_meant(
    label: str, hint: str, folder: Path, dataset: Dataset
) -> None:
    (folder / "labels.csv").write_text(f"file,label\n00.jpg,{label}\n")
    with pytest.raises(DataError, match=f"'{label}' is no class of the model") as caught:
        read(folder, dataset)
    assert caught.value.hint == hint


def test_a_table_without_rows_is_refused(folder: Path, dataset: Dataset) -> None:
    (folder / "labels.csv").write_text("file,label\n")
    with pytest.raises(DataError, match="names no photograph"):
        read(folder, dataset)


@pytest.mark.parametrize("label", ["", "across;down"])
def test_a_table_of_labels_is_not_sent_to_what_takes_no_target(
    folder: Path, dataset: Dataset, label: str
) -> None:
    (folder / "labels.csv").write_text(f"file,label\n00.jpg,{label}\n01.jpg,down\n")
    with pytest.raises(DataError, match="line 2") as raised:
        read(folder, dataset)
    assert "multi-label" not in str(raised.value.hint)
    assert "leave out those whose class is not known" in str(raised.value.hint)


def test_a_photograph_in_two_lines_is_sent_to_one_line_of_one_class(
    folder: Path, dataset: Dataset
) -> None:
    (folder / "labels.csv").write_text("file,label\n00.jpg,across\n00.jpg,down\n")
    with pytest.raises(DataError, match="stands in line 2 already") as raised:
        read(folder, dataset)
    assert raised.value.hint == "give an image one line"


def test_two_labels_of_one_content_are_refused(folder: Path, dataset: Dataset) -> None:
    shutil.copy(folder / "00.jpg", folder / "again.jpg")
    (folder / "labels.csv").write_text("file,label\n00.jpg,across\nagain.jpg,down\n")
    with pytest.raises(DataError, match=r"00\.jpg and again\.jpg are the same image"):
        read(folder, dataset)


def test_too_few_photographs_are_refused_with_their_number(folder: Path, dataset: Dataset) -> None:
    for name in ("00.jpg", "01.jpg"):
        (folder / name).unlink()
    with pytest.raises(DataError, match="19 images that can be used; to align, 20 are needed"):
        read(folder, dataset)


def test_the_training_folder_itself_is_refused(dataset: Dataset) -> None:
    for split in ("train", "val"):
        with pytest.raises(DataError, match="all of its images are in the data set itself"):
            read(dataset.root / split, dataset)


def test_a_folder_that_is_none_is_refused_by_its_option(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.jpg").touch()
    for name, words in (("absent", "no such"), ("file.jpg", "is no"), ("empty", "no images in")):
        with pytest.raises(DataError, match=words) as raised:
            read(tmp_path / name, dataset)
        assert name == "empty" or "--target is a folder" in str(raised.value.hint)


def test_without_labels_align_none_has_nothing_to_use(folder: Path, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="no image has a label"):
        read(folder, dataset, "none")


@pytest.mark.parametrize("change", ["label", "image"])
def test_a_resumed_run_refuses_photographs_or_labels_that_have_changed(
    folder: Path, dataset: Dataset, tmp_path: Path, change: str
) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    settings = FinetuneSettings(data="photos", target=str(folder), align="bn")
    target, _ = read(folder, dataset)
    write_alignment(run, target, settings)
    require_same_target(run, target, settings)
    if change == "label":
        (folder / "labels.csv").write_text("file,label\n00.jpg,across\n")
    else:
        draw_stripes(folder / "00.jpg", "down", 9)
    with pytest.raises(DataError, match="has changed since") as raised:
        require_same_target(run, read(folder, dataset)[0], settings)
    assert "as many photographs as then (21), with other contents" in str(raised.value)
    again = f"rtl finetune photos --config {run.settings} --target {folder}"
    assert raised.value.hint == f"start anew: {again}"
