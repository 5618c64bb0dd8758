"""What an audit counts: images and sizes of each class and split, and the fingerprint of it all."""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from toolchain.data.layouts import Dataset
from toolchain.data.split_names import SPLITS

IMBALANCE = 10
"""A class with at most 1/IMBALANCE of the largest class's training images counts as rare."""


def images_per_class(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return class → split → images; one of several classes counts in each."""
    counts = {
        split: Counter(label for sample in dataset.split(split) for label in sample.labels)
        for split in SPLITS
    }
    return {
        name: {split: counts[split][label] for split in SPLITS}
        for label, name in enumerate(dataset.classes)
    }


def rare_classes(per_class: dict[str, dict[str, int]]) -> tuple[str, ...]:
    """Return the classes with at most 1/IMBALANCE of the largest class's training images."""
    largest = max(counts["train"] for counts in per_class.values())
    return tuple(n for n, counts in per_class.items() if counts["train"] * IMBALANCE <= largest)


def imbalance(per_class: dict[str, dict[str, int]]) -> float | None:
    """Return how many times more training images the largest class has than the smallest.

    None where the smallest has none.
    """
    counts = [of_split["train"] for of_split in per_class.values()]
    return round(max(counts) / min(counts), 2) if min(counts) else None


def missing_classes(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """Return split → the classes that it has no image of; splits without images are left out."""
    per_class = images_per_class(dataset)
    missing = {
        split: tuple(name for name, counts in per_class.items() if not counts[split])
        for split in SPLITS
        if dataset.split(split)
    }
    return {split: names for split, names in missing.items() if names}


def short_sides(
    dataset: Dataset, sizes: Mapping[Path, tuple[int, int]]
) -> dict[str, dict[str, tuple[int, int, int]]]:
    """Return class → split → (least, median, largest) short side in pixels, as stored.

    `sizes` are those of the readable images; a split without them is left out.
    """
    sides: dict[tuple[int, str], list[int]] = defaultdict(list)
    for split in SPLITS:
        for sample in dataset.split(split):
            if sample.path in sizes:
                for label in sample.labels:
                    sides[label, split].append(min(sizes[sample.path]))
    return {
        name: {
            split: (min(found), int(statistics.median(found)), max(found))
            for split in SPLITS
            if (found := sides[label, split])
        }
        for label, name in enumerate(dataset.classes)
    }


def fingerprint(content: Iterable[tuple[str, str, str]]) -> str:
    """Return the sha256 over (split, label, digest) of images, in hex, whatever their order."""
    lines = sorted(f"{split}\t{label}\t{digest}\n" for split, label, digest in content)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
