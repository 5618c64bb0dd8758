"""`rtl data check`: problems of a data set, found before training. Reads all files, writes none."""

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

from toolchain.data.audit_result import SMALL_SIDE, Audit, Unreadable
from toolchain.data.layouts import Dataset, Sample
from toolchain.data.split_names import SPLITS
from toolchain.errors import DataError, ImageError
from toolchain.files import real_path, unicode_name
from toolchain.printable import shell_words
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.image.decode import ORIENTATION_TAG, open_image, read_image
from toolchain.runtime.image.read import read_bytes

IMBALANCE = 10
"""A class with at most 1/IMBALANCE of the largest class's training images counts as rare."""
DIGEST_DIGITS = 12
"""Of `Audit.train_digests`: enough to tell a million images apart."""


class _FileCheck(msgspec.Struct, frozen=True):
    """What decoding one file showed."""

    digest: str
    """sha256 of its bytes, in hex; empty where they can't be read."""
    error: str | None
    rotated: bool
    """Whether it has an EXIF orientation that rotates or mirrors it."""
    short_side: int
    """In pixels, as stored; 0 where there is an error."""


def audit_dataset(
    dataset: Dataset, progress: ProgressReporter | None = None
) -> tuple[Dataset, Audit]:
    """Decode every file once; return (the data set without its unreadable files, the audit).

    The samples that are returned have their digests. Raises DataError when a class has no readable
    training image, or no validation image is left; its `result` is the audit, with the files.
    """
    progress = progress or SilentReporter()
    samples = [(split, sample) for split in SPLITS for sample in dataset.split(split)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        results = pool.map(lambda item: _check_file(item[1].path), samples)
        checks = list(progress.track(results, "reading the images", len(samples)))
    rows = [
        (split, _label_text(dataset, sample), dataset.name_of(sample.path), check)
        for (split, sample), check in zip(samples, checks, strict=True)
    ]
    digests = {s.path: c.digest for (_, s), c in zip(samples, checks, strict=True) if not c.error}
    readable = _readable(dataset, digests)
    groups = _same_content(rows)
    per_class = _per_class(readable)
    audit = Audit(
        data=unicode_name(str(dataset.root)),
        split_by=dataset.split_by,
        images=len(rows),
        per_class=per_class,
        unreadable=tuple(Unreadable(name, check.error) for *_, name, check in rows if check.error),
        duplicates=_names(groups),
        leaks=_names(group for group in groups if len({split for split, *_ in group}) > 1),
        label_conflicts=_names(group for group in groups if len({c for _, c, _ in group}) > 1),
        rotated_by_exif=sum(check.rotated for *_, check in rows),
        small=sum(c.error is None and c.short_side < SMALL_SIDE for *_, c in rows),
        rare_classes=_rare(per_class),
        fingerprint=_fingerprint(rows),
        left_out=dataset.left_out,
        notes=dataset.notes,
        fingerprints={split: _fingerprint([r for r in rows if r[0] == split]) for split in SPLITS},
    )
    _require_trainable(readable, audit)
    return readable, audit


def with_train_digests(audit: Audit, dataset: Dataset) -> Audit:
    """Return the audit with the digests of the training images, by which they are known again."""
    digests = sorted({sample.digest[:DIGEST_DIGITS] for sample in dataset.train})
    return msgspec.structs.replace(audit, train_digests=tuple(digests))


def is_readable(path: Path) -> bool:
    """Return whether a file can be decoded."""
    return _check_file(path).error is None


def split_fingerprint(dataset: Dataset, split: str, samples: Iterable[Sample]) -> str:
    """Return the fingerprint of some samples as a split, comparable with `Audit.fingerprints`.

    The samples have their digests.
    """
    checks = [
        (split, _label_text(dataset, s), "", _FileCheck(s.digest, None, False, 0)) for s in samples
    ]
    return _fingerprint(checks)


def _check_file(path: Path) -> _FileCheck:
    try:
        data = read_bytes(path, "image")
    except ImageError as error:
        return _FileCheck("", str(error).removeprefix("image: "), False, 0)
    digest = hashlib.sha256(data).hexdigest()
    try:
        # The decoder of training; JPEGs at a smaller scale, which finds the same damage.
        read_image(data, Preprocessing(size=1, resize_size=1, decode_scale=1))
    except ImageError as error:
        return _FileCheck(digest, str(error).removeprefix("image: "), False, 0)
    return _FileCheck(digest, None, *_as_stored(data))


def _as_stored(data: bytes) -> tuple[bool, int]:
    """Return (whether EXIF rotates it, its short side in pixels as stored) from the header."""
    with open_image(io.BytesIO(data)) as image:
        try:
            rotated = image.getexif().get(ORIENTATION_TAG, 1) in range(2, 9)
        except Exception:  # damaged EXIF raises any exception; the image is then used as stored
            rotated = False
        return rotated, min(image.size)


def _label_text(dataset: Dataset, sample: Sample) -> str:
    """Return a text that is equal for two samples if and only if their classes are equal."""
    if dataset.task == "multi-label":
        # As JSON, because a class name may contain any separator.
        return msgspec.json.encode([dataset.classes[label] for label in sample.labels]).decode()
    (label,) = sample.labels
    return dataset.classes[label]


def _readable(dataset: Dataset, digests: dict[Path, str]) -> Dataset:
    """Return the data set with only the files that have a digest, and with these digests."""

    def keep(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return tuple(replace(s, digest=digests[s.path]) for s in samples if s.path in digests)

    return replace(
        dataset, train=keep(dataset.train), val=keep(dataset.val), test=keep(dataset.test)
    )


def _require_trainable(readable: Dataset, audit: Audit) -> None:
    gone = [name for name, counts in audit.per_class.items() if not counts["train"]]
    found = ""
    if gone:
        found = f"no readable training image in {', '.join(gone)}"
    elif not readable.val:
        found = "no readable validation image"
    if found:
        check = shell_words("rtl", "data", "check", readable.root)
        error = DataError(
            f"{readable.root}: {found}",
            hint=f"{check}{_task_option(readable)} lists the files",
        )
        error.result = audit
        raise error


def _task_option(dataset: Dataset) -> str:
    return "" if dataset.task == "single-label" else f" --task {dataset.task}"


Row = tuple[str, str, str, _FileCheck]
"""Split, label, name and check of one file."""
Group = list[tuple[str, str, str]]
"""Split, label and name of files with the same bytes."""


def _same_content(rows: list[Row]) -> list[Group]:
    by_digest: dict[str, Group] = defaultdict(list)
    for split, label, name, check in rows:
        if check.error is None:
            by_digest[check.digest].append((split, label, name))
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
    lines = sorted(f"{s}\t{label}\t{c.digest}\n" for s, label, _, c in rows if c.error is None)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def is_inside(path: str | os.PathLike[str], folder: Path) -> bool:
    """Return whether a path lies in a folder, links and `..` resolved.

    Commands use it to refuse outputs inside a data set.
    """
    return real_path(path).is_relative_to(real_path(folder))
