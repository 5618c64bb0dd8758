"""Which split a folder, list, table or cell means by its name: the only place that decides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "development", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
}
"""Split → the words that mean it, the most usual one first."""
ADDED_WORDS = ("set", "sets", "data", "dataset", "split", "images", "image", "imgs", "img", "list",
               "labels", "label", "annotations", "folder")  # fmt: skip
"""Words that a name may have beside the word of its split, as in `train_set` and `ValData`."""
SPLIT_OF_WORD = {word: split for split, words in SPLIT_WORDS.items() for word in words}
# The word of the split, then added words, then a number: trainset, val2017, train-images-2.
_NAME = re.compile(
    rf"(?:{'|'.join(ADDED_WORDS)})?({'|'.join(sorted(SPLIT_OF_WORD, key=len, reverse=True))})"
    rf"(?:{'|'.join(ADDED_WORDS)}){{0,2}}[0-9]*"
)


def split_named(name: str) -> str | None:
    """Return the split that a name means, whatever its case and separators; None for other names.

    >>> [split_named(name) for name in ("training_set", "Test-Images", "val2017", "trains")]
    ['train', 'test', 'val', None]
    """
    match = _NAME.fullmatch(re.sub(r"[\W_]+", "", name.casefold()))
    return SPLIT_OF_WORD[match[1]] if match else None


def paths_by_split(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Return split → the paths that are named for it, the most usual name first.

    Of a path only the name without its ending counts. The order of the splits is that of SPLITS.
    """
    named: dict[str, list[Path]] = {}
    for path in sorted(paths, key=_usualness):
        if split := split_named(
            path.stem if path.suffix.lower() in (".txt", ".csv") else path.name
        ):
            named.setdefault(split, []).append(path)
    return {split: named[split] for split in SPLITS if split in named}


def named_for_splits(paths: Iterable[Path]) -> dict[str, Path]:
    """Return split → the path with the most usual name for it."""
    return {split: found[0] for split, found in paths_by_split(paths).items()}


def _usualness(path: Path) -> tuple[bool, int, str]:
    stem = path.stem.lower()
    for words in SPLIT_WORDS.values():
        if stem in words:
            return False, words.index(stem), path.name
    return True, len(path.name), path.name
