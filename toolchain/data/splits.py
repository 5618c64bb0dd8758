"""Splits by a hash of each file's name, so that adding images moves hardly any other image."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from toolchain.data.class_names import LabelledPaths, class_names
from toolchain.data.split_names import SPLITS
from toolchain.errors import DataError, SettingsError

# The 7:1:2 of article S3 (docs/configs.md).
USUAL_RATIO = "7:1:2"
USUAL_SHARE = 0.5
"""A split gets at least this part of its share of each class, rounded down, and one image."""


@dataclass(frozen=True)
class Splitting:
    """How a data set without splits of its own is split."""

    ratio: str = USUAL_RATIO
    """Proportions of train, val and test; two numbers mean no test split."""
    seed: int = 0
    """Another number draws another split; 0 hashes the name alone."""
    group_column: str = ""
    """The column of a table whose equal cells keep images in one split; empty for none."""

    def __post_init__(self) -> None:
        """Raise SettingsError for a ratio that is none."""
        _parsed(self.ratio)

    @cached_property
    def shares(self) -> dict[str, float]:
        """Split → its share of the images; they add up to 1."""
        parts = _parsed(self.ratio)
        return {split: part / sum(parts) for split, part in zip(SPLITS, parts, strict=True)}

    @property
    def asked_for(self) -> str:
        """The settings of the hash that are not the usual ones; empty where all are."""
        usual, asked = USUAL, []
        if self.ratio != usual.ratio:
            asked.append(f"split_ratio {self.ratio}")
        if self.seed != usual.seed:
            asked.append(f"split_seed {self.seed}")
        return " and ".join(asked)

    @property
    def description(self) -> str:
        """The rule as the end of a sentence."""
        seed = f", seed {self.seed}" if self.seed else ""
        return f"{self.ratio} by a stable hash of each file's name{seed}"

    def without_test(self) -> Splitting:
        """Return the same proportion of train and val, without a test split."""
        train, val, _ = self.shares.values()
        return Splitting(f"{train!r}:{val!r}", self.seed, self.group_column)


def _parsed(ratio: str) -> list[float]:
    """Return the parts of train, val and test in a ratio such as 7:1:2 or 8:2."""
    try:
        parts = [float(part) for part in ratio.split(":")]
    except ValueError:
        parts = []
    if len(parts) == 2:
        parts.append(0.0)
    if len(parts) != 3 or min(parts) < 0 or not parts[0] or not parts[1] or not sum(parts) < 1e9:
        raise SettingsError(
            f"split_ratio: {ratio!r} is not train:val:test or train:val, such as 7:1:2 or 8:2; "
            "train and val need a share"
        )
    return parts


USUAL = Splitting()


def position(name: str, seed: int = 0) -> float:
    """Return a number in [0, 1) that depends on the name and the seed only."""
    text = f"{seed}\0{name}" if seed else name
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _split_at(place: float, shares: Mapping[str, float]) -> str:
    """Return the split of an image at a position.

    The positions are uniform within each class, so the splits have the classes in about equal
    proportions; and since one depends on no other file, adding images moves none of the old ones.
    """
    # Rounded as a sum of the shares, so that 0.7 + 0.1 of the usual ratio stays what it was.
    if place < shares["train"]:
        return "train"
    return "val" if place < shares["train"] + shares["val"] or not shares["test"] else "test"


def split_classes(
    names: Sequence[str],
    classes: Sequence[Iterable[str]],
    splitting: Splitting = USUAL,
    groups: Sequence[str] | None = None,
) -> tuple[list[str], int]:
    """Return (the splits of images with any number of classes, how many the hash did not decide).

    Each class gets a training image; a validation image unless moving it would take the last
    training image of some class; and from three images on a test image in the same way. Then each
    split gets at least half of its share of a class. Where the hash does not give it, the images
    with the nearest positions are moved. Images of one of the `groups` stay together.
    """
    keys = list(names) if groups is None else [f"group {group}" for group in groups]
    shares, units = splitting.shares, dict[str, _Unit]()
    for key, own in zip(keys, classes, strict=True):
        if (unit := units.get(key)) is None:
            place = position(key, splitting.seed)
            split = _split_at(place, shares)
            unit = units[key] = _Unit(place, split, split)
        unit.images += 1
        for name in own:
            unit.classes[name] = unit.classes.get(name, 0) + 1
    _Assignment(list(units.values()), splitting).fill()
    moved = sum(unit.images for unit in units.values() if unit.split != unit.by_hash)
    return [units[key].split for key in keys], moved


@dataclass(slots=True)
class _Unit:
    """Images that stay together: one, or those of a group."""

    place: float
    by_hash: str
    """The split that the hash gives it."""
    split: str
    images: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    """Class → how many of its images are in this unit."""


class _Assignment:
    """Units in splits, and how many images of each class each split has."""

    def __init__(self, units: list[_Unit], splitting: Splitting) -> None:
        self.shares = splitting.shares
        self.of_class: dict[str, list[_Unit]] = {}
        self.counts: dict[str, Counter[str]] = {}
        """Class → split → images."""
        for unit in units:
            for name, images in unit.classes.items():
                self.of_class.setdefault(name, []).append(unit)
                self.counts.setdefault(name, Counter())[unit.split] += images

    def fill(self) -> None:
        """Give each split one image of each class where possible, then half of its share."""
        # Sorted by class name, so that the result does not depend on the order of the rows.
        for needed in (self._one, self._half):
            for split in SPLITS:
                for name in sorted(self.of_class):
                    while self.counts[name][split] < needed(name, split):
                        if not self._move_nearest(name, split, needed):
                            break

    def _one(self, name: str, split: str) -> int:
        """Return 1 where a split has to have an image of a class, else 0."""
        least = {"train": 1, "val": 2, "test": 3}[split]
        return int(self.shares[split] > 0 and len(self.of_class[name]) >= least)

    def _half(self, name: str, split: str) -> int:
        """Return how many images of a class a split should have at least."""
        images = self.counts[name].total()
        return max(self._one(name, split), int(images * self.shares[split] * USUAL_SHARE))

    def _move_nearest(self, name: str, split: str, needed: Callable[[str, str], int]) -> bool:
        """Move the unit of a class that lies nearest to a split into it; return whether one may."""
        middle = {
            "train": 0.0,
            "val": self.shares["train"] + self.shares["val"] / 2,
            "test": 1.0,
        }[split]
        # A split may take the last image of one that comes after it: train, then val, then test.
        keeping = SPLITS if needed == self._half else SPLITS[: SPLITS.index(split)]
        spare = [
            unit
            for unit in self.of_class[name]
            if unit.split != split
            and all(
                self.counts[own][unit.split] - images
                >= (needed(own, unit.split) if unit.split in keeping else 0)
                for own, images in unit.classes.items()
            )
        ]
        if not spare:
            return False
        nearest = min(spare, key=lambda unit: abs(unit.place - middle))
        for own, images in nearest.classes.items():
            self.counts[own][nearest.split] -= images
            self.counts[own][split] += images
        nearest.split = split
        return True


@dataclass
class SplitImages:
    """The images of a data set in their splits, before the classes have numbers."""

    images: dict[str, LabelledPaths]
    split_by: str
    """Where the splits come from, as the end of a sentence."""
    groups: dict[Path, str] = field(default_factory=dict)
    """Image → the group that has to stay in one split; empty without groups."""
    by_hash: bool = False
    """Whether the data set has no splits of its own."""


def split_images(
    images: LabelledPaths, root: Path, splitting: Splitting, groups: dict[Path, str] | None = None
) -> SplitImages:
    """Return the images in splits by the hash of their names, or of those of their groups."""
    groups = groups or {}
    splits, moved = _assign(images, root, splitting, groups)
    found: dict[str, LabelledPaths] = {split: [] for split in SPLITS}
    for item, split in zip(images, splits, strict=True):
        found[split].append(item)
    description = splitting.description
    if groups:
        description = description.replace("each file's name", f"column {splitting.group_column!r}")
    if moved:
        description += f", but for {moved} moved so that the splits meet every class"
    return SplitImages(found, description, groups, by_hash=True)


def carve(
    train: LabelledPaths,
    root: Path,
    splitting: Splitting = USUAL,
    groups: dict[Path, str] | None = None,
) -> tuple[LabelledPaths, LabelledPaths]:
    """Split training images 7:1 into (train, val), where a data set comes without validation."""
    found = split_images(train, root, splitting.without_test(), groups).images
    rest, val = found["train"], found["val"]
    if not val or class_names(rest) != class_names(train):
        raise DataError(
            f"{root}: {len(train)} training images are too few to set some aside for validation",
            hint="add a val/ folder (or val.txt, val.csv), or more images",
        )
    return rest, val


def _assign(
    images: LabelledPaths, root: Path, splitting: Splitting, groups: Mapping[Path, str]
) -> tuple[list[str], int]:
    names = [_name_within(path, root) for path, _ in images]
    # An image without a cell in the column of groups is alone.
    of_group = [groups.get(path) or name for (path, _), name in zip(images, names, strict=True)]
    classes = [own for _, own in images]
    return split_classes(names, classes, splitting, of_group if groups else None)


def _name_within(path: Path, root: Path) -> str:
    """Return a path relative to a folder, or else unchanged, with forward slashes."""
    # pathlib takes longer for this than the hash does, and there is one call for each image.
    text, prefix = str(path), f"{root}{os.sep}"
    if text.startswith(prefix):
        return text[len(prefix) :].replace(os.sep, "/")
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
