"""The image that the next command names, and what is printed where there is none."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from toolchain.cli.export import _print_next
from toolchain.cli.next_steps import ANY_IMAGE, example_image


def test_a_validation_image_of_the_run_is_named(run_folder: Path, stripes: Path) -> None:
    found = example_image(run_folder, None)
    assert Path(found).is_file()
    assert stripes / "val" in Path(found).parents


def test_moved_data_are_searched_and_missing_data_give_a_word(
    run_folder: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "ants" / "my photo.jpg"
    photo.parent.mkdir()
    photo.touch()
    assert example_image(run_folder, str(tmp_path)) == str(photo)
    assert example_image(run_folder, str(tmp_path / "nowhere")) == ANY_IMAGE
    assert example_image(tmp_path / "no run", None) == ANY_IMAGE


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.torchscript.pt", "my model.onnx"], ["predict", "my model.onnx", "IMAGE"]),
        (["model.torchscript.pt"], ["verify", "model.torchscript.pt"]),
    ],
)
def test_the_next_command_fits_the_files_and_is_quoted(
    capsys: pytest.CaptureFixture[str], names: list[str], expected: list[str]
) -> None:
    _print_next("no run", None, None, [Path(name) for name in names], quiet=False)
    assert shlex.split(capsys.readouterr().err) == ["next:", "rtl", *expected]


def test_a_delta_away_from_its_run_is_tried_on_an_image_of_the_base_run(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    delta = tmp_path / "food.safetensors"
    _print_next(str(run_folder), delta, None, [Path("model.onnx")], quiet=False)
    assert Path(shlex.split(capsys.readouterr().err)[-1]).is_file()
