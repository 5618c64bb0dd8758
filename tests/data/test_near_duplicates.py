"""Copies that were changed a little are found, and other images are not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.data.test_image_quality import scene
from toolchain.data import image_hashes
from toolchain.data.image_hashes import Look, count_bits, look_of
from toolchain.data.near_duplicates import Groups, Looks, near_duplicates
from toolchain.data.picture_likeness import likeness
from toolchain.demo.parts import draw_part


def encoded(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def cropped(
    image: Image.Image, left: float, top: float, right: float, bottom: float
) -> Image.Image:
    width, height = image.size
    box = (round(left * width), round(top * height),
           round((1 - right) * width), round((1 - bottom) * height))  # fmt: skip
    return encoded(image.crop(box), 85)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded": lambda image: encoded(image, 30),
    "halved": lambda image: encoded(image.resize((image.width // 2, image.height // 2)), 85),
    "enlarged": lambda image: image.resize((image.width * 2, image.height * 2)),
    "cropped all around": lambda image: cropped(image, 0.03, 0.03, 0.03, 0.03),
    "cropped at a corner": lambda image: cropped(image, 0.03, 0.03, 0, 0),
    "cropped below": lambda image: cropped(image, 0, 0, 0, 0.03),
    "darker": lambda image: image.point(lambda level: int(level * 0.8)),
}


def groups_of(looks: list[Look]) -> list[list[int]]:
    everything = np.arange(len(looks))
    return near_duplicates(Looks(looks), [(everything, everything)])


@pytest.fixture(scope="module")
def scenes() -> list[Look]:
    return [look_of(scene(seed)) for seed in range(12)]


def test_different_pictures_are_no_near_duplicates(scenes: list[Look]) -> None:
    assert groups_of(scenes) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(change: str, scenes: list[Look]) -> None:
    copies = [look_of(CHANGES[change](scene(seed))) for seed in (0, 5)]
    assert groups_of([*scenes, *copies]) == [[0, 12], [5, 13]]


def test_a_picture_in_other_colours_is_another_picture() -> None:
    bright = scene(0).convert("L")
    middle, low = (bright.point(lambda level, s=s: int(level * s)) for s in (0.8, 0.4))
    warm, cold = (
        look_of(Image.merge("RGB", bands))
        for bands in ((bright, middle, low), (low, middle, bright))
    )
    greys = np.array([warm.grey, cold.grey])
    assert likeness(greys, np.array([[0, 1]]))[0] > 0.9
    assert groups_of([warm, cold]) == []
    assert groups_of([warm, warm]) == [[0, 1]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("good", 96), ("good", 134)),
        (("good", 109), ("good", 131)),
        (("hole", 24), ("hole", 25)),
    ],
)
def test_parts_of_one_shape_in_other_light_are_different_pictures(
    first: tuple[str, int], second: tuple[str, int]
) -> None:
    one, other = draw_part(*first), draw_part(*second)
    assert groups_of([look_of(one), look_of(other)]) == []
    assert groups_of([look_of(one), look_of(encoded(one, 30))]) == [[0, 1]]


def test_blocks_say_what_is_compared(scenes: list[Look]) -> None:
    looks = Looks([*scenes, scenes[3], scenes[4]])
    train, val = np.array([0, 1, 2, 3, 12]), np.array([4, 5, 13])
    assert near_duplicates(looks, [(train, val)]) == []
    assert near_duplicates(looks, [(train, train)]) == [[3, 12]]
    assert near_duplicates(looks, [(train, np.array([12, 13]))]) == [[3, 12]]


def test_flat_pictures_are_not_compared() -> None:
    flat = look_of(Image.new("RGB", (50, 50), (80, 80, 80)))
    assert groups_of([flat, flat]) == []


def test_chains_are_one_group() -> None:
    groups = Groups(6)
    for a, b in ((0, 3), (4, 3), (1, 5)):
        groups.join(a, b)
    assert groups.found() == [[0, 3, 4], [1, 5]]


def test_bits_are_counted_alike_by_numpy_and_by_the_table() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (7, 5), dtype=np.uint64)
    wanted = [[int(word).bit_count() for word in row] for row in words]
    assert count_bits(words).tolist() == wanted
    assert image_hashes._count_by_table(words).tolist() == wanted
