"""Which images of a data set are the same, or look the same, and whether that does harm.

The same are files with equal bytes, and files of equal pixels: a photograph without its metadata,
or saved in another lossless format.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolchain.data.file_check import FileCheck, pixel_digest
from toolchain.data.image_hashes import Look
from toolchain.data.near_duplicates import Looks, near_duplicates

LIKE_PIXELS = 6
"""Levels by which the small pictures of two images of equal pixels may differ on average: a JPEG is
decoded at a smaller scale for it, another format is not."""

Names = tuple[str, ...]


class Row(NamedTuple):
    """One file of a data set, and what reading it showed."""

    split: str
    label: str
    """A text that is equal for two files if and only if their classes are."""
    name: str
    path: Path
    check: FileCheck


class SameGroups(NamedTuple):
    """Groups of two files or more, as names."""

    all: tuple[Names, ...]
    in_splits: tuple[Names, ...]
    """Those with files in more than one split."""
    in_classes: tuple[Names, ...]
    """Those whose files have different classes."""


class Same(NamedTuple):
    """What `same_content` found."""

    equal: SameGroups
    near: SameGroups
    """Images that look the same; equal ones alone make no such group."""


def same_content(rows: Sequence[Row], *, within_splits: bool) -> Same:
    """Return which images are equal and which look the same.

    Looking the same is searched between the splits, and `within_splits` inside of them too.
    """
    by_digest: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.check.error is None:
            by_digest[row.check.digest].append(index)
    # Of files with equal bytes one is compared for each split that they are in.
    first = {
        (digest, rows[index].split): index
        for digest, indices in by_digest.items()
        for index in reversed(indices)
    }
    compared = sorted(first.values())
    near = _alike(rows, compared, within_splits)
    equal = _with_equal_pixels(rows, list(by_digest.values()), near)
    return Same(_groups(rows, equal), _groups(rows, _near_only(rows, by_digest, near, equal)))


def _alike(rows: Sequence[Row], compared: list[int], within_splits: bool) -> list[list[int]]:
    """Return groups of those of the compared rows that look the same, as indices of rows."""
    looks: list[Look] = [look for i in compared if (look := rows[i].check.look) is not None]
    if len(looks) < 2:
        return []
    of_split = np.array([("train", "val", "test").index(rows[i].split) for i in compared])
    everything, train, held_out, val, test = (
        np.flatnonzero(where)
        for where in (of_split >= 0, of_split == 0, of_split > 0, of_split == 1, of_split == 2)
    )
    blocks = [(everything, everything)] if within_splits else [(train, held_out), (val, test)]
    found = near_duplicates(Looks(looks), blocks)
    return [[compared[place] for place in group] for group in found]


def _with_equal_pixels(
    rows: Sequence[Row], groups: list[list[int]], near: list[list[int]]
) -> list[list[int]]:
    """Return the groups of equal bytes, joined where their pixels are equal.

    Only images that look the same and have one size are decoded again.
    """
    group_of = {index: group for group in groups for index in group}
    for alike in near:
        by_pixels: dict[str, int] = {}
        for index in _of_one_size(rows, alike):
            first = by_pixels.setdefault(pixel_digest(rows[index].path), index)
            own, other = group_of[index], group_of[first]
            if own is not other:
                other.extend(own)
                group_of.update(dict.fromkeys(own, other))
    unique = {id(group): group for group in group_of.values()}
    return [sorted(group) for group in unique.values() if len(group) > 1]


def _of_one_size(rows: Sequence[Row], alike: list[int]) -> list[int]:
    """Return those of some rows that have the size, and nearly the small picture, of another."""
    by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index in alike:
        by_size[tuple(sorted(rows[index].check.size))].append(index)
    found = []
    for indices in by_size.values():
        greys = np.array([look.grey for i in indices if (look := rows[i].check.look)], np.int16)
        for place, index in enumerate(indices):
            off = np.abs(greys - greys[place]).mean(axis=(1, 2))
            if (off <= LIKE_PIXELS).sum() > 1:
                found.append(index)
    return found


def _near_only(
    rows: Sequence[Row],
    by_digest: dict[str, list[int]],
    near: list[list[int]],
    equal: list[list[int]],
) -> list[list[int]]:
    """Return the groups that look the same with all their equal files, without those all equal."""
    whole = [sorted({i for n in group for i in by_digest[rows[n].check.digest]}) for group in near]
    number = {index: which for which, group in enumerate(equal) for index in group}
    return [g for g in whole if len({number.get(index, -1 - index) for index in g}) > 1]


def _groups(rows: Sequence[Row], groups: Iterable[list[int]]) -> SameGroups:
    ordered = sorted(groups)
    return SameGroups(
        _names(rows, ordered),
        _names(rows, (g for g in ordered if len({rows[i].split for i in g}) > 1)),
        _names(rows, (g for g in ordered if len({rows[i].label for i in g}) > 1)),
    )


def _names(rows: Sequence[Row], groups: Iterable[list[int]]) -> tuple[Names, ...]:
    return tuple(tuple(rows[index].name for index in group) for group in groups)
