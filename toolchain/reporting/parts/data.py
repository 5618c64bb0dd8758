"""The part about data: images by class and split, what the audit found, some training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from toolchain.data.audit_result import SMALL_SIDE, Audit
from toolchain.data.left_out import left_out_summary
from toolchain.data.split_names import SPLITS
from toolchain.reporting.images.pictures import Pictures
from toolchain.reporting.images.training_views import TrainingView

MOST_GROUPS = 6
"""Groups of equal files that are shown, of each kind."""
MOST_COPIES = 4
"""Files of a group that are shown."""
MOST_UNREADABLE = 12


class ClassCount(NamedTuple):
    """The images of one class."""

    name: str
    counts: Sequence[int]
    """In train, val and test."""
    total: int
    share: float
    """Of the largest class, in 0…1."""


class Finding(NamedTuple):
    """Something that the audit found."""

    name: str
    meaning: str
    count: int
    bad: bool
    groups: Sequence[Sequence[tuple[str, str | None]]]
    """(file, picture) of some of them."""


@dataclass(frozen=True)
class Data:
    """The part about data."""

    place: str
    split_by: str
    fingerprint: str
    images: int
    totals: Sequence[int]
    classes: list[ClassCount]
    findings: list[Finding]
    notes: list[str]
    unreadable: list[tuple[str, str]]
    unreadable_more: int
    views: list[TrainingView]
    no_views: str
    augmented: int
    """Columns of augmented views."""


def data_part(
    audit: Audit,
    place: Path | None,
    pictures: Pictures,
    views: Sequence[TrainingView],
    no_views: str,
) -> Data:
    """Return the part; `place` is the folder that names in the audit are relative to, or None."""
    counts = [
        ClassCount(
            name, [row.get(split, 0) for split in SPLITS], sum(row.get(s, 0) for s in SPLITS), 0.0
        )
        for name, row in audit.per_class.items()
    ]
    largest = max((row.total for row in counts), default=1) or 1
    left_out = left_out_summary(audit.left_out)

    def picture(name: str) -> str | None:
        return None if place is None else pictures.thumbnail(place / name)

    return Data(
        place=audit.data,
        split_by=audit.split_by,
        fingerprint=audit.fingerprint,
        images=audit.images,
        totals=[sum(row.counts[i] for row in counts) for i in range(len(SPLITS))],
        classes=[row._replace(share=row.total / largest) for row in counts],
        findings=_findings(audit, picture),
        notes=[*audit.notes, *([f"left out: {left_out}"] if left_out else []), *_remarks(audit)],
        unreadable=[(u.file, u.reason) for u in audit.unreadable[:MOST_UNREADABLE]],
        unreadable_more=max(0, len(audit.unreadable) - MOST_UNREADABLE),
        views=list(views),
        no_views=no_views,
        augmented=max((len(view.augmented) for view in views), default=0),
    )


def _findings(audit: Audit, picture: Callable[[str], str | None]) -> list[Finding]:
    worse = {*audit.leaks, *audit.label_conflicts}
    copies = [group for group in audit.duplicates if group not in worse]
    kinds = (
        ("leaks", "the same bytes in training and in validation or test", audit.leaks, True),
        ("label conflicts", "the same bytes with different classes", audit.label_conflicts, True),
        ("duplicates", "the same bytes twice in one split", copies, False),
    )
    return [
        Finding(
            name,
            meaning,
            len(groups),
            bad and bool(groups),
            [
                [(file, picture(file)) for file in group[:MOST_COPIES]]
                for group in groups[:MOST_GROUPS]
            ],
        )
        for name, meaning, groups, bad in kinds
    ]


def _remarks(audit: Audit) -> list[str]:
    remarks = []
    if audit.rotated_by_exif:
        remarks.append(f"turned upright by their EXIF orientation: {audit.rotated_by_exif}")
    if audit.small:
        remarks.append(f"under {SMALL_SIDE} pixels: {audit.small}")
    if audit.rare_classes:
        remarks.append(f"rare classes: {', '.join(audit.rare_classes)}")
    return remarks
