"""The model that made a file of predictions is noted beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.prediction.pictures import picture, tiny_model_file
from tests.runtime.tiny import tiny_model, weight, write
from toolchain.errors import DataError
from toolchain.prediction.made_by import note_of
from toolchain.prediction.predict import predict
from toolchain.prediction.rowfile import PredictionFile


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        picture(tmp_path / "photos" / f"{number}.png", number)
    return Path("photos")


def other_model(folder: Path) -> Path:
    other = tiny_model()
    for tensor in other.graph.initializer:
        if tensor.name == "weight":
            tensor.CopyFrom(weight("weight", -np.eye(3, dtype=np.float32) / 64))
    return write(other, folder / "other.onnx")


def run(model: Path, inputs: object, *, resume: bool = False) -> int:
    sink = PredictionFile(Path("rows.jsonl"), resume=resume)
    return predict(model, str(inputs), sink=sink).added


def move_finished(photos: Path) -> None:
    photos.rename("done")
    picture(Path("photos/new.png"))


def test_another_model_is_refused_although_the_finished_images_are_gone(
    photos: Path, tmp_path: Path
) -> None:
    run(tiny_model_file(tmp_path), photos)
    before = Path("rows.jsonl").read_bytes()
    move_finished(photos)
    with pytest.raises(DataError, match=r"rows\.jsonl was not made by this model: sha256"):
        run(other_model(tmp_path), photos, resume=True)
    assert Path("rows.jsonl").read_bytes() == before


def test_the_same_model_goes_on_although_the_finished_images_are_gone(
    photos: Path, tmp_path: Path
) -> None:
    model = tiny_model_file(tmp_path)
    run(model, photos)
    move_finished(photos)
    assert run(model, photos, resume=True) == 1


@pytest.mark.parametrize("note", [None, b"", b"{}", b"\xff", b'{"model_sha256":"\x85"}'])
def test_without_a_note_and_without_the_images_nothing_is_added(
    note: bytes | None, photos: Path, tmp_path: Path
) -> None:
    model = tiny_model_file(tmp_path)
    run(model, photos)
    if note is None:
        note_of(Path("rows.jsonl")).unlink()
    else:
        note_of(Path("rows.jsonl")).write_bytes(note)
    assert run(model, photos, resume=True) == 0  # the images show that it is the same model
    note_of(Path("rows.jsonl")).unlink()
    move_finished(photos)
    with pytest.raises(DataError, match="may be of another model: none of its images"):
        run(model, photos, resume=True)


def test_rows_of_earlier_versions_are_found_by_the_names_of_a_list(
    photos: Path, tmp_path: Path
) -> None:
    model = tiny_model_file(tmp_path)
    run(model, photos)
    Path("list.txt").write_text("".join(f"./photos/{n}.png\n" for n in range(3)))
    sink = PredictionFile(Path("rows.jsonl"), resume=True)
    assert predict(model, (), files_from="list.txt", sink=sink).added == 0
