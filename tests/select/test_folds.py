"""Folds: classes spread evenly, groups and equal files together, the same for the same seed."""

from __future__ import annotations

import numpy as np

from toolchain.select.folds import grouped_folds, out_of_fold_images

LABELS = np.array([0] * 50 + [1] * 25 + [2] * 5)
ALONE = [f"{index}" for index in range(len(LABELS))]


def test_each_class_is_spread_over_all_folds() -> None:
    fold_of = grouped_folds(LABELS, ALONE, 5)
    for label, share in ((0, 10), (1, 5), (2, 1)):
        assert np.bincount(fold_of[label == LABELS], minlength=5).tolist() == [share] * 5


def test_images_of_a_group_share_a_fold() -> None:
    groups = [f"object {index // 4}" for index in range(len(LABELS))]
    fold_of = grouped_folds(LABELS, groups, 5)
    for group in set(groups):
        own = [fold for fold, name in zip(fold_of, groups, strict=True) if name == group]
        assert len(set(own)) == 1


def test_images_without_a_group_are_alone() -> None:
    assert len(set(grouped_folds(np.zeros(5, np.int64), [""] * 5, 5).tolist())) == 5


def test_a_seed_gives_the_same_folds_and_another_seed_others() -> None:
    first = grouped_folds(LABELS, ALONE, 5, seed=1)
    assert (first == grouped_folds(LABELS, ALONE, 5, seed=1)).all()
    assert (first != grouped_folds(LABELS, ALONE, 5, seed=2)).any()


def test_an_empty_fold_is_left_out() -> None:
    fold_of = grouped_folds(np.array([0, 0, 1]), ["a", "a", "b"], 5)
    held_out = out_of_fold_images(fold_of)
    assert sorted(np.concatenate(held_out).tolist()) == [0, 1, 2]
    assert all(len(images) for images in held_out)
