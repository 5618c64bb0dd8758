"""How much a number of images can show, in figures and in words."""

from __future__ import annotations

import pytest

from toolchain.metrics.evidence import (
    accuracy_words,
    as_good_as_the_best,
    can_show_a_difference,
    flips_words,
)


def test_six_images_are_the_fewest_that_can_show_a_difference() -> None:
    assert [n for n in range(1, 20) if not can_show_a_difference(n)] == [1, 2, 3, 4, 5]


def test_an_accuracy_comes_with_its_interval() -> None:
    assert accuracy_words(1, 1) == "100.0 % of 1 image (95 % interval 20.7 % to 100.0 %)"


@pytest.mark.parametrize(
    ("flips", "images", "words"),
    [
        (0, 1, "1 image proves nothing: up to 95.0 % of all may differ"),
        (0, 5, "5 images prove nothing: up to 45.1 % of all may differ"),
        (0, 24, "at most 11.7 % of all (95 %)"),
        (0, 149, "at most 2.0 % of all (95 %)"),
    ],
)
def test_labels_that_may_differ_are_bounded(flips: int, images: int, words: str) -> None:
    assert flips_words(flips, images) == words


def test_an_epoch_is_as_good_as_the_best_where_no_test_could_tell_them_apart() -> None:
    assert as_good_as_the_best([1, 1, 0], 1) == 3
    assert as_good_as_the_best([60, 94, 95, 100], 100) == 2
