"""The embedded data set: its files, their variety, and that it is no trivial task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from toolchain.demo.parts import CLASSES, EXIF_ORIENTATION, draw_part, draw_parts
from toolchain.errors import DataError

Item = TypeVar("Item")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set with 16 images of each class."""
    folder = tmp_path_factory.mktemp("drawn") / "parts"
    draw_parts(folder, images_per_class=16, seed=3)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file's bytes by its path in the folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def orientation_of(path: Path) -> int:
    """Return the EXIF orientation, 1 where there is none."""
    with Image.open(path) as image:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("two", 7), ("other", 8)):
        draw_parts(tmp_path / name, images_per_class=2, seed=seed)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert files_of(tmp_path / "one") != files_of(tmp_path / "other")


def test_more_images_do_not_change_the_first_ones(parts: Path, tmp_path: Path) -> None:
    draw_parts(tmp_path / "few", images_per_class=2, seed=3)
    many = files_of(parts)
    assert all(many[name] == content for name, content in files_of(tmp_path / "few").items())


@pytest.mark.parametrize("label", CLASSES)
def test_one_part_drawn_alone_is_the_one_in_the_set(parts: Path, label: str) -> None:
    alone = draw_part(label, 5, seed=3)
    with Image.open(parts / label / "part_0005.jpg") as image:
        stored = ImageOps.exif_transpose(image)
    assert stored.size == alone.size
    difference = np.asarray(alone, np.float32) - np.asarray(stored, np.float32)
    assert float(np.abs(difference).mean()) < 8  # JPEG's loss; another image differs by 40 and more


def test_each_class_has_its_folder_and_number_of_images(parts: Path) -> None:
    assert sorted(path.name for path in parts.iterdir()) == list(CLASSES)
    assert {len(list((parts / label).glob("part_*.jpg"))) for label in CLASSES} == {16}


def test_about_one_in_eight_images_is_stored_rotated(parts: Path) -> None:
    paths = sorted(parts.rglob("part_*.jpg"))
    tags = [orientation_of(path) for path in paths]
    rotated = [tag for tag in tags if tag != 1]
    assert 0.06 <= len(rotated) / len(paths) <= 0.2
    assert set(rotated) <= set(range(2, 9))
    assert len(set(rotated)) >= 4


def test_sizes_and_aspects_vary() -> None:
    sizes = [draw_part("good", index).size for index in range(1, 25)]
    assert all(140 <= side <= 360 for size in sizes for side in size)
    assert any(width > height for width, height in sizes)
    assert any(width < height for width, height in sizes)


def test_exactly_two_files_cannot_be_decoded(tmp_path: Path) -> None:
    broken = draw_parts(tmp_path / "parts", images_per_class=1)
    assert len(broken) == 2
    for path in (tmp_path / "parts").rglob("*.jpg"):
        decodable = True
        try:
            with Image.open(path) as image:
                image.load()
        except OSError:  # UnidentifiedImageError is one
            decodable = False
        assert decodable == (path not in broken)


def test_a_folder_with_something_in_it_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty") as error:
        draw_parts(tmp_path, images_per_class=1)
    assert error.value.hint
    assert files_of(tmp_path) == {"mine.txt": b"keep"}


class Stopped:
    """A progress reporter that interrupts at the third image."""

    def message(self, text: str) -> None:
        pass

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        for number, item in enumerate(items):
            if number == 2:
                raise KeyboardInterrupt
            yield item


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        draw_parts(tmp_path / "parts", images_per_class=1, progress=Stopped())
    assert list(tmp_path.iterdir()) == []


def pixels_and_classes(images_per_class: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return 32×32 RGB pixels of the default set's first images, and their class numbers."""
    small = [
        draw_part(label, index).resize((32, 32), Image.Resampling.BOX)
        for label in CLASSES
        for index in range(1, images_per_class + 1)
    ]
    pixels = torch.tensor(np.stack([np.asarray(image).ravel() for image in small])).float()
    return pixels, torch.arange(len(CLASSES)).repeat_interleave(images_per_class)


def logistic_scores(
    x: torch.Tensor, y: torch.Tensor, train: torch.Tensor, l2: float
) -> torch.Tensor:
    """Return the scores of all rows of x, by a logistic regression fitted to `train` by LBFGS."""
    weight = torch.zeros(x.shape[1], len(CLASSES), requires_grad=True)
    bias = torch.zeros(len(CLASSES), requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        fit = torch.nn.functional.cross_entropy(x[train] @ weight + bias, y[train])
        total = fit + l2 * weight.square().sum() / 2
        total.backward()
        return total

    solver.step(loss)
    return (x @ weight + bias).detach()


def test_logistic_regression_on_pixels_stays_below_60_percent() -> None:
    pixels, classes = pixels_and_classes(images_per_class=100)
    for seed in range(3):
        order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))
        train, validation, held_out = order.tensor_split(
            [int(0.7 * len(order)), int(0.8 * len(order))]
        )
        x = (pixels - pixels[train].mean(0)) / (pixels[train].std(0) + 1e-6)
        # With an L2 penalty the best weights lie in the span of the training rows: same answer.
        x = x @ torch.linalg.svd(x[train], full_matrices=False).Vh.T
        accuracies = []
        for l2 in (0.01, 0.1, 1.0):
            right = logistic_scores(x, classes, train, l2).argmax(1) == classes
            accuracies.append((right[validation].float().mean(), right[held_out].float().mean()))
        assert max(accuracies)[1] < 0.6
