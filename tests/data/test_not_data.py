"""What is given for a data set and is none gets its own name, and a way on that works."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.data.trees import put, refusal
from toolchain.data.layouts import read_dataset


def test_a_run_folder_in_the_place_of_data_is_called_one(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    put(run, "curves.png", "confusion.png")
    for name in ("settings.toml", "card.json"):
        (run / name).write_text("")
    put(tmp_path, "other/cat.jpg")
    error = refusal(run)
    assert "is a run folder" in str(error)
    assert f"rtl finetune DATA --weights '{run}'" in str(error.hint)
    assert "did you mean" not in str(error.hint)


def test_one_image_and_an_archive_are_named(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg")
    error = refusal(tmp_path / "a/1.jpg")
    assert "one image" in str(error)
    assert "UTF-8" not in str(error.hint)
    with zipfile.ZipFile(tmp_path / "photos", "w") as archive:
        archive.writestr("a/1.jpg", b"")
    (tmp_path / "photos.rar").write_bytes(b"Rar!")
    for name in ("photos", "photos.rar"):
        error = refusal(tmp_path / name)
        assert "is an archive" in str(error)
        assert "unpack" in str(error.hint)


def test_the_folder_that_holds_train_is_meant_and_not_train(tmp_path: Path) -> None:
    put(tmp_path, *(f"x/y/train/{name}/{i}.jpg" for name in ("cat", "dog") for i in range(8)))
    hint = str(refusal(tmp_path).hint)
    assert f"did you mean {tmp_path / 'x/y'}?" in hint
    assert read_dataset(tmp_path / "x/y").classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cat i/1.jpg", "line 2: the label stands before the path"),
        ("cat\ti/1.jpg", "line 2: the label stands before the path"),
        ("i/1.jpg", "line 2: 'i/1.jpg' has no label"),
        ("i/my cat.jpg", "line 2: 'i/my cat.jpg' has no label"),
    ],
)
def test_a_line_in_another_form_gets_a_message_that_says_which(
    line: str, message: str, tmp_path: Path
) -> None:
    put(tmp_path, "i/1.jpg", "i/my cat.jpg", "i/2.jpg")
    (tmp_path / "train.txt").write_text(f"i/2.jpg dog\n{line}\n")
    assert message in str(refusal(tmp_path))


def test_bars_separate_the_cells_of_lists_and_tables(tmp_path: Path) -> None:
    lines = [f"i/{name}{i}.jpg|{name}" for name in ("cat", "dog") for i in range(8)]
    put(tmp_path, *(line.partition("|")[0] for line in lines))
    (tmp_path / "train.txt").write_text("\n".join(lines).replace("g|d", "g | d"))
    assert read_dataset(tmp_path).classes == ("cat", "dog")
    (tmp_path / "train.txt").unlink()
    (tmp_path / "labels.csv").write_text("\n".join(["image|label", *lines]))
    assert read_dataset(tmp_path).classes == ("cat", "dog")


def test_a_row_without_a_class_is_not_sent_to_multi_label_alone(tmp_path: Path) -> None:
    put(tmp_path, "i/1.jpg", "i/2.jpg")
    (tmp_path / "labels.csv").write_text("image,label\ni/1.jpg,cat\ni/2.jpg,\n")
    error = refusal(tmp_path)
    assert "line 3: no class" in str(error)
    assert "remove the line" in str(error.hint)
