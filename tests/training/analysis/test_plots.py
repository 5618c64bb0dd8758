"""Plots: size, colours, what is marked, and no half-written file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from toolchain.metrics import confusion_plot
from toolchain.metrics.confusion_plot import draw_confusion
from toolchain.training.analysis import plots
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


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, with their layout made, instead of files."""
    figures: list[Figure] = []

    def keep(figure: Figure, path: Path, **_: Any) -> None:
        figure.draw_without_rendering()
        figures.append(figure)

    monkeypatch.setattr(plots, "save_figure", keep)
    monkeypatch.setattr(confusion_plot, "save_figure", keep)
    return figures


def tick_labels(axis: Axis) -> list[str]:
    """Return the labels of the ticks that lie within the axis."""
    low, high = sorted(axis.get_view_interval())
    return [
        tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 25, 60, 100, 300])
def test_curves_number_the_first_and_the_last_epoch_and_repeat_no_label(
    drawn: list[Figure], tmp_path: Path, count: int
) -> None:
    draw_curves(epochs(count), best_epoch=count, path=tmp_path / "curves.png")
    for axes in drawn[0].axes:
        labels = [int(label) for label in tick_labels(axes.xaxis)]
        assert labels == sorted(set(labels))
        assert (labels[0], labels[-1]) == (1, count)
        shares = tick_labels(axes.yaxis)
        assert len(set(shares)) == len(shares) >= 2


def test_accuracies_that_hardly_differ_have_different_labels(
    drawn: list[Figure], tmp_path: Path
) -> None:
    rows = [{**row, "train_accuracy": 0.9971, "val_accuracy": 0.9962} for row in epochs(9)]
    draw_curves(rows, best_epoch=3, path=tmp_path / "curves.png")
    labels = tick_labels(drawn[0].axes[1].yaxis)
    assert len(set(labels)) == len(labels)
    assert "101%" not in labels


def test_stages_the_best_epoch_and_the_legend_stand_outside_the_data(
    drawn: list[Figure], tmp_path: Path
) -> None:
    rows = [{**row, "trained_layers": 1 if row["epoch"] < 6 else 6} for row in epochs(10)]
    draw_curves(rows, best_epoch=8, path=tmp_path / "curves.png")
    figure = drawn[0]
    [legend] = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert any(name.startswith("best: epoch 8") for name in names)
    assert any("more layers" in name for name in names)
    for axes in figure.axes:
        assert not axes.get_window_extent().overlaps(legend.get_window_extent())
        assert [5.5, 5.5] in [np.asarray(line.get_xdata()).tolist() for line in axes.get_lines()]
        assert "6" in [text.get_text() for text in axes.texts]


def test_one_huge_loss_does_not_flatten_the_others(drawn: list[Figure], tmp_path: Path) -> None:
    rows = epochs(10)
    rows[0]["train_loss"] = 330428.0
    draw_curves(rows, best_epoch=10, path=tmp_path / "curves.png")
    loss = drawn[0].axes[0]
    assert loss.get_ylim()[1] < 5
    assert [text.get_text() for text in loss.texts] == ["up to 3.3e+05"]


def test_a_class_without_images_leaves_its_row_blank(tmp_path: Path) -> None:
    draw_confusion(np.array([[0, 0], [3, 1]]), ["a", "b"], "val", tmp_path / "confusion.png")
    assert has_blue(pixels_of(tmp_path / "confusion.png"))


def test_a_class_name_with_dollar_signs_is_drawn_literally(tmp_path: Path) -> None:
    # matplotlib parses text between dollar signs as a formula; this one is not valid.
    names = ["under $5_{ or $9", "over"]
    draw_confusion(np.eye(2, dtype=np.int64), names, "val", tmp_path / "confusion.png")
    assert has_blue(pixels_of(tmp_path / "confusion.png"))


def test_a_class_without_images_is_marked_as_such(drawn: list[Figure], tmp_path: Path) -> None:
    draw_confusion(np.array([[0, 0], [3, 1]]), ["a", "b"], "val", tmp_path / "confusion.png")
    assert tick_labels(drawn[0].axes[0].yaxis) == ["a (no images)", "b"]


def test_many_classes_are_numbered_and_their_confusions_listed(
    drawn: list[Figure], tmp_path: Path
) -> None:
    matrix = np.eye(800, dtype=np.int64) * 5
    matrix[700, 3] = 4
    names = [f"species {i}" for i in range(800)]
    draw_confusion(matrix, names, "val", tmp_path / "confusion.png")
    cells, listed = drawn[0].axes[:2]
    assert tick_labels(cells.xaxis)[0] == "1"
    assert tick_labels(cells.xaxis)[-1] == "800"
    assert "4 ×  species 700 → species 3" in listed.texts[0].get_text()
    # Fewer rows than classes, and the one confusion is still in them.
    shown = cells.get_images()[0].get_array()
    assert shown is not None
    assert len(shown) < 800
    assert np.isclose(np.asarray(shown), 4 / 9).sum() == 1


@pytest.mark.parametrize("count", [2, 30])
def test_names_of_any_length_leave_the_cells_their_room(
    drawn: list[Figure], tmp_path: Path, count: int
) -> None:
    names = [f"{'very long name ' * 20}{i}" for i in range(count)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as `python -W error` does
        draw_confusion(np.eye(count, dtype=np.int64), names, "val", tmp_path / "confusion.png")
    axes = drawn[0].axes[0]
    assert axes.get_window_extent().height > 0.35 * drawn[0].bbox.height
    labels = tick_labels(axes.yaxis)
    assert len(set(labels)) == count


def test_warnings_of_matplotlib_do_not_end_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(*words: object) -> None:
        warnings.warn("constrained_layout not applied", UserWarning, stacklevel=1)

    monkeypatch.setattr(Figure, "draw", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_curves(epochs(1), best_epoch=1, path=tmp_path / "curves.png")
        draw_rate_sweep(sweep_rates(), [2.0], None, tmp_path / "sweep.png")
        draw_confusion(np.eye(2, dtype=np.int64), ["猫", "犬"], "val", tmp_path / "c.png")
    assert {file.name for file in tmp_path.iterdir()} == {"curves.png", "sweep.png", "c.png"}


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
    # The line is in the middle of the axes and reaches to their top; the legend is above them.
    added = (marked != plain).any(axis=2)
    assert added[90:140, 440:500].any()
    assert not added[90:140, :440].any()


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


def test_no_text_of_many_classes_with_long_names_is_cut(tmp_path: Path) -> None:
    names = [f"{number} {'MWM' * 30}" for number in range(26)]
    matrix = np.random.default_rng(0).integers(1, 9, (26, 26))
    draw_confusion(matrix, names, "val", tmp_path / "confusion.png")
    pixels = pixels_of(tmp_path / "confusion.png")
    for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]):
        assert edge.min() == 255
