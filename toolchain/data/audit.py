"""`rtl data check`: problems of a data set, found before training. Reads all files, writes none.

`rtl finetune` makes the same pass, without the measurements of each image and with a search for
images that look the same in two splits only.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec

from toolchain.data.audit_figures import (
    fingerprint,
    images_per_class,
    imbalance,
    missing_classes,
    rare_classes,
    short_sides,
)
from toolchain.data.audit_result import Audit, Unreadable
from toolchain.data.file_check import FileCheck, check_file
from toolchain.data.file_findings import KINDS, SMALL_SIDE, FileFinding, similar_names
from toolchain.data.layouts import Dataset, Sample
from toolchain.data.same_content import Row, Same, same_content
from toolchain.data.split_names import SPLITS
from toolchain.errors import DataError
from toolchain.files import real_path, unicode_name
from toolchain.printable import shell_words
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runtime.cores import usable_cores

DIGEST_DIGITS = 12
"""Of `Audit.train_digests`: enough to tell a million images apart."""
AHEAD = 64
"""Files that each thread may be ahead of the one that is waited for: memory stays bounded."""


def audit_dataset(
    dataset: Dataset, progress: ProgressReporter | None = None, *, thorough: bool = False
) -> tuple[Dataset, Audit]:
    """Decode every file once; return (the data set without its unreadable files, the audit).

    `thorough` also measures each image and looks for near duplicates inside of splits too. The
    samples that are returned have their digests. Raises DataError when a class has no readable
    training image, or no validation image is left; its `result` is the audit, with the files.
    """
    progress = progress or SilentReporter()
    samples = [(split, sample) for split in SPLITS for sample in dataset.split(split)]
    checked = file_checks([sample.path for _, sample in samples], thorough)
    checks = list(progress.track(checked, "reading the images", len(samples)))
    rows = [
        Row(split, _label_text(dataset, sample), dataset.name_of(sample.path), sample.path, check)
        for (split, sample), check in zip(samples, checks, strict=True)
    ]
    digests = {row.path: row.check.digest for row in rows if not row.check.error}
    readable = _readable(dataset, digests)
    audit = _audit(dataset, readable, rows, same_content(rows, within_splits=thorough))
    if thorough:
        sizes_of = {row.path: row.check.size for row in rows if row.check.error is None}
        audit = msgspec.structs.replace(
            audit, thorough=True, findings=_findings(rows), sizes=short_sides(dataset, sizes_of)
        )
    _require_trainable(readable, audit)
    return readable, audit


def _audit(dataset: Dataset, readable: Dataset, rows: list[Row], same: Same) -> Audit:
    per_class = images_per_class(readable)
    bad = [row for row in rows if row.check.error is not None]
    content = [(r.split, r.label, r.check.digest) for r in rows if r.check.error is None]
    return Audit(
        data=unicode_name(str(dataset.root)),
        split_by=dataset.split_by,
        images=len(rows),
        per_class=per_class,
        unreadable=tuple(Unreadable(row.name, str(row.check.error)) for row in bad),
        truncated=tuple(row.name for row in bad if row.check.ends_early),
        duplicates=same.equal.all,
        leaks=same.equal.in_splits,
        label_conflicts=same.equal.in_classes,
        near_duplicates=same.near.all,
        near_leaks=same.near.in_splits,
        near_label_conflicts=same.near.in_classes,
        rotated_by_exif=sum(row.check.rotated for row in rows),
        small=sum(r.check.error is None and min(r.check.size) < SMALL_SIDE for r in rows),
        rare_classes=rare_classes(per_class),
        imbalance=imbalance(per_class),
        missing_classes=missing_classes(readable),
        fingerprint=fingerprint(content),
        left_out=dataset.left_out,
        notes=dataset.notes,
        fingerprints={
            split: fingerprint(item for item in content if item[0] == split) for split in SPLITS
        },
    )


def file_checks(paths: Sequence[Path], thorough: bool = False) -> Iterator[FileCheck]:
    """Yield what reading each file shows, in order; threads read, a bounded number ahead."""
    threads = usable_cores()
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[FileCheck]] = deque()
    try:
        for path in paths:
            pending.append(pool.submit(check_file, path, quality=thorough))
            if len(pending) > AHEAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C nothing more is read


def with_train_digests(audit: Audit, dataset: Dataset) -> Audit:
    """Return the audit with the digests of the training images, by which they are known again."""
    digests = sorted({sample.digest[:DIGEST_DIGITS] for sample in dataset.train})
    return msgspec.structs.replace(audit, train_digests=tuple(digests))


def is_readable(path: Path) -> bool:
    """Return whether a file can be decoded."""
    return check_file(path).error is None


def split_fingerprint(dataset: Dataset, split: str, samples: Iterable[Sample]) -> str:
    """Return the fingerprint of some samples as a split, comparable with `Audit.fingerprints`.

    The samples have their digests.
    """
    return fingerprint((split, _label_text(dataset, sample), sample.digest) for sample in samples)


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


def _findings(rows: list[Row]) -> tuple[FileFinding, ...]:
    """Return what was found about single readable files, kind by kind in the order of KINDS."""
    found = [
        FileFinding(row.name, what, detail)
        for row in rows
        if row.check.error is None
        for what, detail in row.check.findings
    ]
    found += similar_names(row.name for row in rows)
    return tuple(sorted(found, key=lambda finding: KINDS.index(finding.what)))


def is_inside(path: str | os.PathLike[str], folder: Path) -> bool:
    """Return whether a path lies in a folder, links and `..` resolved.

    Commands use it to refuse outputs inside a data set.
    """
    return real_path(path).is_relative_to(real_path(folder))
