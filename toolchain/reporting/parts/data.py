"""The part about data: images by class and split, what the audit found, some training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from toolchain.data.audit_display import split_words
from toolchain.data.audit_result import Audit
from toolchain.data.file_findings import SMALL_SIDE
from toolchain.data.left_out import left_out_summary
from toolchain.data.split_names import SPLITS
from toolchain.reporting.images.pictures import Pictures
from toolchain.reporting.images.training_views import TrainingView
from toolchain.reporting.parts.findings import (
    Finding,
    LabelSuspect,
    file_findings,
    group_findings,
    label_suspects,
)

MOST_UNREADABLE = 12


class ClassCount(NamedTuple):
    """The images of one class."""

    name: str
    counts: Sequence[int]
    """In train, val and test."""
    total: int
    share: float
    """Of the largest class, in 0…1."""


@dataclass(frozen=True)
class Data:
    """The part about data."""

    place: str
    split: str
    fingerprint: str
    images: int
    totals: Sequence[int]
    classes: list[ClassCount]
    findings: list[Finding]
    suspects: list[LabelSuspect]
    contradicted: int
    """Labels that are less probable than another, by features of a network."""
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

    suspects, contradicted = label_suspects(audit, picture)
    return Data(
        place=audit.data,
        split=split_words(audit.split_by),
        fingerprint=audit.fingerprint,
        images=audit.images,
        totals=[sum(row.counts[i] for row in counts) for i in range(len(SPLITS))],
        classes=[row._replace(share=row.total / largest) for row in counts],
        findings=[*group_findings(audit, picture), *file_findings(audit, picture)],
        suspects=suspects,
        contradicted=contradicted,
        notes=[*audit.notes, *([f"left out: {left_out}"] if left_out else []), *_remarks(audit)],
        unreadable=[(u.file, u.reason) for u in audit.unreadable[:MOST_UNREADABLE]],
        unreadable_more=max(0, len(audit.unreadable) - MOST_UNREADABLE),
        views=list(views),
        no_views=no_views,
        augmented=max((len(view.augmented) for view in views), default=0),
    )


def _remarks(audit: Audit) -> list[str]:
    remarks = []
    if audit.rotated_by_exif:
        remarks.append(f"turned upright by their EXIF orientation: {audit.rotated_by_exif}")
    if audit.small:
        remarks.append(f"under {SMALL_SIDE} pixels: {audit.small}")
    for split, names in audit.missing_classes.items():
        remarks += [f"{split} has no readable image of {', '.join(names)}"] if names else []
    if audit.rare_classes:
        remarks.append(f"rare classes: {', '.join(audit.rare_classes)}")
    return remarks
