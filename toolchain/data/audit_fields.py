"""The figures and lists of an audit, as JSON has them; `audit_result` is the result of them."""

from __future__ import annotations

import msgspec

from toolchain.data.file_findings import FileFinding
from toolchain.data.label_suspects import LabelErrors
from toolchain.data.left_out import LeftOut


class Unreadable(msgspec.Struct, frozen=True):
    """One file that can't be decoded."""

    file: str
    reason: str


class AuditFields(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit found. Files are named relative to the data set's folder."""

    version: int = 1
    data: str
    split_by: str
    images: int
    per_class: dict[str, dict[str, int]]
    """class → split → readable images; an image of several classes counts in each."""
    unreadable: tuple[Unreadable, ...]
    duplicates: tuple[tuple[str, ...], ...]
    """Groups of files with the same bytes or the same pixels."""
    leaks: tuple[tuple[str, ...], ...]
    """Those groups with files in more than one split: validation would contain training images."""
    label_conflicts: tuple[tuple[str, ...], ...]
    """Those groups whose files have different classes."""
    rotated_by_exif: int
    small: int
    rare_classes: tuple[str, ...]
    fingerprint: str
    """sha256 over split, label and content of every readable file."""
    left_out: tuple[LeftOut, ...] = ()
    """What was seen and not used, by place, kind and reason."""
    notes: tuple[str, ...] = ()
    """What may be a mistake in the names of classes and in the splits."""
    fingerprints: dict[str, str] = {}
    """The same of each split alone."""
    thorough: bool = False
    """Whether each image was measured, and near duplicates looked for inside of splits too."""
    truncated: tuple[str, ...] = ()
    """Those of the unreadable files whose end is missing."""
    near_duplicates: tuple[tuple[str, ...], ...] = ()
    """Groups of images that look the same: encoded anew, resized, cropped a little. Without
    `thorough` only those with files in more than one split."""
    near_leaks: tuple[tuple[str, ...], ...] = ()
    """Those of them with files in more than one split."""
    near_label_conflicts: tuple[tuple[str, ...], ...] = ()
    """Those of them whose files have different classes."""
    imbalance: float | None = None
    """Training images of the largest class for each of the smallest; None where that has none."""
    missing_classes: dict[str, tuple[str, ...]] = {}
    """Split → the classes that it has no readable image of."""
    findings: tuple[FileFinding, ...] = ()
    """What is wrong with, or unusual about, single readable files; only of a `thorough` audit."""
    sizes: dict[str, dict[str, tuple[int, int, int]]] = {}
    """class → split → least, median and largest short side in pixels; only if `thorough`."""
    label_errors: LabelErrors | None = None
    """Labels that may be wrong; None where they were not looked for."""
    labels_not_checked: str = ""
    """Why they were not looked for; empty where they were, and in a run folder."""
    train_digests: tuple[str, ...] = ()
    """In the run folder only: the first 12 hex digits of the sha256 of each training image."""
