"""What is wrong with a data set, before anybody trains on it. Reads every file, writes nothing."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
from PIL import Image

from toolchain.data.layouts import Dataset, Sample
from toolchain.display import Block, Displayed, Facts, Line, Table
from toolchain.errors import DataError, ImageError
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.image.decode import ORIENTATION_TAG, read_image
from toolchain.runtime.image.read import read_bytes

SPLITS = ("train", "val", "test")
IMBALANCE = 10
"""A class with this many times fewer training images than the largest is pointed out."""
SMALL_SIDE = 64
"""A short side below this, in pixels, leaves little to see."""


class Unreadable(msgspec.Struct, frozen=True):
    """One file that can't be decoded."""

    file: str
    reason: str


class Audit(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """What was found. Files are named relative to the data set's folder."""

    version: int = 1
    data: str
    split_by: str
    images: int
    per_class: dict[str, dict[str, int]]
    """class → split → readable images; an image of several classes counts in each."""
    unreadable: tuple[Unreadable, ...]
    duplicates: tuple[tuple[str, ...], ...]
    """Groups of files with the same bytes."""
    leaks: tuple[tuple[str, ...], ...]
    """Those groups that stand in more than one split: validation would see training images."""
    label_conflicts: tuple[tuple[str, ...], ...]
    """Those groups whose files have different classes."""
    rotated_by_exif: int
    small: int
    rare_classes: tuple[str, ...]
    fingerprint: str
    """sha256 over split, label and content of every readable file."""

    def blocks(self) -> list[Block]:
        """Return the images of each class, the files that something is wrong with, and counts."""
        classes = [(name, *(str(row[s]) for s in SPLITS)) for name, row in self.per_class.items()]
        blocks: list[Block] = [
            Line(f"{self.data}: {self.images} files, split by {self.split_by}"),
            Table(("class", *SPLITS), classes, right=SPLITS),
        ]
        if self.unreadable:
            files = [(item.file, item.reason) for item in self.unreadable]
            blocks.append(Table(("file", "unreadable because"), files))
        for name, groups in (
            ("the same bytes in more than one split", self.leaks),
            ("the same bytes with different classes", self.label_conflicts),
        ):
            if groups:
                blocks.append(Table((name,), [("\n".join(group),) for group in groups]))
        return [*blocks, self._counts()]

    def _counts(self) -> Facts:
        return Facts(
            [
                ("unreadable", str(len(self.unreadable))),
                ("duplicates", f"{len(self.duplicates)} groups with the same bytes"),
                ("leaks", f"{len(self.leaks)} groups in more than one split"),
                ("label conflicts", f"{len(self.label_conflicts)} groups with different classes"),
                ("rare classes", ", ".join(self.rare_classes) or "none"),
                ("small", f"{self.small} images under {SMALL_SIDE} pixels"),
                ("EXIF-rotated", f"{self.rotated_by_exif} images, which rtl turns upright"),
                ("fingerprint", self.fingerprint[:16]),
            ]
        )


class _Found(msgspec.Struct, frozen=True):
    digest: str
    error: str | None
    rotated: bool
    short_side: int


def audit_dataset(
    dataset: Dataset, progress: ProgressReporter | None = None
) -> tuple[Dataset, Audit]:
    """Decode every file once and give (the data set without its unreadable files, what was found).

    The samples that are given know their digests. Raises DataError when a class has no readable
    training image, or no validation image is left.
    """
    progress = progress or SilentReporter()
    samples = [(split, sample) for split in SPLITS for sample in dataset.split(split)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        results = pool.map(lambda item: _look(item[1].path), samples)
        found = list(progress.track(results, "reading the images", len(samples)))
    rows = [
        (split, _label_text(dataset, sample), dataset.name_of(sample.path), result)
        for (split, sample), result in zip(samples, found, strict=True)
    ]
    digests = {s.path: f.digest for (_, s), f in zip(samples, found, strict=True) if not f.error}
    readable = _readable(dataset, digests)
    groups = _same_content(rows)
    per_class = _per_class(readable)
    return readable, Audit(
        data=str(dataset.root),
        split_by=dataset.split_by,
        images=len(rows),
        per_class=per_class,
        unreadable=tuple(Unreadable(name, f.error) for *_, name, f in rows if f.error),
        duplicates=_names(groups),
        leaks=_names(group for group in groups if len({split for split, *_ in group}) > 1),
        label_conflicts=_names(group for group in groups if len({c for _, c, _ in group}) > 1),
        rotated_by_exif=sum(f.rotated for *_, f in rows),
        small=sum(f.error is None and f.short_side < SMALL_SIDE for *_, f in rows),
        rare_classes=_rare(per_class),
        fingerprint=_fingerprint(rows),
    )


def _look(path: Path) -> _Found:
    try:
        data = read_bytes(path, "image")
    except ImageError as error:
        return _Found("", str(error).removeprefix("image: "), False, 0)
    digest = hashlib.sha256(data).hexdigest()
    try:
        # The same decoder as training; JPEGs are decoded small, which finds damage just as well.
        read_image(data, Preprocessing(size=1, resize_size=1, decode_scale=1))
    except ImageError as error:
        return _Found(digest, str(error).removeprefix("image: "), False, 0)
    return _Found(digest, None, *_as_stored(data))


def _as_stored(data: bytes) -> tuple[bool, int]:
    """Return (is it rotated by EXIF, its short side in pixels) from the header."""
    with Image.open(io.BytesIO(data)) as image:
        try:
            rotated = image.getexif().get(ORIENTATION_TAG, 1) in range(2, 9)
        except Exception:  # damaged EXIF raises anything; the image is used as it is
            rotated = False
        return rotated, min(image.size)


def _label_text(dataset: Dataset, sample: Sample) -> str:
    """Return a text that is the same for the same classes, and for no others."""
    if dataset.task == "multi-label":
        # As JSON, because any separator may stand in the name of a class.
        return msgspec.json.encode([dataset.classes[label] for label in sample.labels]).decode()
    (label,) = sample.labels
    return dataset.classes[label]


def _readable(dataset: Dataset, digests: dict[Path, str]) -> Dataset:
    """Return the data set with the files that have a digest, and the digests."""

    def keep(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return tuple(replace(s, digest=digests[s.path]) for s in samples if s.path in digests)

    readable = replace(
        dataset, train=keep(dataset.train), val=keep(dataset.val), test=keep(dataset.test)
    )
    present = {label for sample in readable.train for label in sample.labels}
    if gone := [name for i, name in enumerate(dataset.classes) if i not in present]:
        raise DataError(
            f"{dataset.root}: no readable training image in {', '.join(gone)}",
            hint=f"rtl data check {dataset.root}{_task_option(dataset)} lists the files",
        )
    if not readable.val:
        raise DataError(f"{dataset.root}: no readable validation image")
    return readable


def _task_option(dataset: Dataset) -> str:
    return "" if dataset.task == "single-label" else f" --task {dataset.task}"


Row = tuple[str, str, str, _Found]
Group = list[tuple[str, str, str]]


def _same_content(rows: list[Row]) -> list[Group]:
    by_digest: dict[str, Group] = defaultdict(list)
    for split, label, name, found in rows:
        if found.error is None:
            by_digest[found.digest].append((split, label, name))
    return [group for group in by_digest.values() if len(group) > 1]


def _names(groups: Iterable[Group]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(name for *_, name in group) for group in groups)


def _per_class(dataset: Dataset) -> dict[str, dict[str, int]]:
    counts = {
        split: Counter(label for sample in dataset.split(split) for label in sample.labels)
        for split in SPLITS
    }
    return {
        name: {split: counts[split][label] for split in SPLITS}
        for label, name in enumerate(dataset.classes)
    }


def _rare(per_class: dict[str, dict[str, int]]) -> tuple[str, ...]:
    largest = max(counts["train"] for counts in per_class.values())
    return tuple(n for n, counts in per_class.items() if counts["train"] * IMBALANCE <= largest)


def _fingerprint(rows: list[Row]) -> str:
    lines = sorted(f"{s}\t{label}\t{f.digest}\n" for s, label, _, f in rows if f.error is None)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def is_inside(path: str | os.PathLike[str], folder: Path) -> bool:
    """Say whether a path lies in a folder: nothing is ever written into a data set."""
    return Path(path).resolve().is_relative_to(folder.resolve())
