"""Plots: size, colours, what is marked, and no half-written file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from toolchain.metrics.confusion_plot import draw_confusion
from toolchain.training.analysis.lr_curve import sweep_rates
from toolchain.training.analysis.plots import draw_curves, draw_rate_sweep


def epochs(count: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": n,
            "train_loss": 1 / n,
            "val_loss": 1.2 / n,
            "train_accuracy": 1 - 0.5 / n,
            "val_accuracy": 1 - 0.6 / n,
        }
        for n in range(1, count + 1)
    ]


def pixels_of(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def has_blue(pixels: NDArray[np.uint8]) -> bool:
    """Return whether something is drawn in the blue of the validation curve."""
    red, blue = pixels[..., 0].astype(int), pixels[..., 2].astype(int)
    return bool((blue - red > 80).sum() > 20)


@pytest.mark.parametrize("count", [1, 2, 60])
def test_curves_of_any_number_of_epochs_are_drawn(tmp_path: Path, count: int) -> None:
    draw_curves(epochs(count), best_epoch=count, path=tmp_path / "curves.png")
    pixels = pixels_of(tmp_path / "curves.png")
    assert pixels.shape == (468, 1170, 3)
    assert has_blue(pixels)


@pytest.mark.parametrize(
    ("classes", "side"),
    [(2, range(400, 600)), (10, range(900, 1200)), (40, range(2000, 2200))],
)
def test_confusion_grows_with_the_classes_and_stays_printable(
    tmp_path: Path, classes: int, side: range
) -> None:
    matrix = np.eye(classes, dtype=np.int64) * 5
    names = [f"class number {i}" for i in range(classes)]
    draw_confusion(matrix, names, "val", tmp_path / "confusion.png")
    pixels = pixels_of(tmp_path / "confusion.png")
    assert pixels.shape[0] in side
    assert has_blue(pixels)


def test_a_class_without_images_leaves_its_row_blank(tmp_path: Path) -> None:
    draw_confusion(np.array([[0, 0], [3, 1]]), ["a", "b"], "val", tmp_path / "confusion.png")
    assert has_blue(pixels_of(tmp_path / "confusion.png"))


def test_a_class_name_with_dollar_signs_is_drawn_literally(tmp_path: Path) -> None:
    # matplotlib parses text between dollar signs as a formula; this one is not valid.
    names = ["under $5_{ or $9", "over"]
    draw_confusion(np.eye(2, dtype=np.int64), names, "val", tmp_path / "confusion.png")
    assert has_blue(pixels_of(tmp_path / "confusion.png"))


def sweep_losses(count: int) -> list[float]:
    """Return losses that fall a little and diverge in the last tenth of the sweep."""
    return [2.3 - 0.01 * i if i < 90 else 2.0 * (i - 88) for i in range(count)]


def test_a_suggested_rate_is_marked_in_its_sweep(tmp_path: Path) -> None:
    rates = sweep_rates()
    draw_rate_sweep(rates, sweep_losses(100), rates[50], tmp_path / "with.png")
    draw_rate_sweep(rates, sweep_losses(100), None, tmp_path / "without.png")
    marked, plain = (pixels_of(tmp_path / name) for name in ("with.png", "without.png"))
    assert marked.shape == plain.shape == (468, 910, 3)
    assert has_blue(plain)
    # The line is in the middle of the axes and reaches to their top.
    added = (marked != plain).any(axis=2)
    assert added[40:100, 440:500].any()
    assert not added[40:100, :440].any()


def test_a_divergence_does_not_flatten_the_descent(tmp_path: Path) -> None:
    losses = sweep_losses(100)
    draw_rate_sweep(sweep_rates(), losses, None, tmp_path / "finite.png")
    draw_rate_sweep(sweep_rates(), [*losses[:99], 1e9], None, tmp_path / "diverged.png")
    finite, diverged = (pixels_of(tmp_path / name) for name in ("finite.png", "diverged.png"))
    assert (finite[:, :600] == diverged[:, :600]).all()


@pytest.mark.parametrize("losses", [[], [2.3], [2.3, float("nan"), 1.0], [2.0] * 100])
def test_a_sweep_without_a_descent_is_drawn(tmp_path: Path, losses: list[float]) -> None:
    draw_rate_sweep(sweep_rates(), losses, None, tmp_path / "sweep.png")
    assert pixels_of(tmp_path / "sweep.png").shape == (468, 910, 3)


def test_an_error_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    draw_curves(epochs(2), best_epoch=1, path=path)
    before = path.read_bytes()
    with pytest.raises(StopIteration):
        draw_curves(epochs(2), best_epoch=9, path=path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
