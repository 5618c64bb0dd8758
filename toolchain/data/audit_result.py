"""What `rtl data check` found, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from toolchain.data.left_out import LeftOut, left_out_summary, remedy_for
from toolchain.data.split_names import SPLITS
from toolchain.display import Block, Displayed, Facts, Line, Table

SMALL_SIDE = 64
"""Images with a short side below this, in pixels, are counted as small."""
LISTED_GROUPS, LISTED_COPIES = 10, 4
"""Groups of equal files that are shown, and files of a group beside its first."""


class Unreadable(msgspec.Struct, frozen=True):
    """One file that can't be decoded."""

    file: str
    reason: str


class Audit(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """The result of `audit_dataset`. Files are named relative to the data set's folder."""

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
    train_digests: tuple[str, ...] = ()
    """In the run folder only: the first 12 hex digits of the sha256 of each training image."""

    def blocks(self) -> list[Block]:
        """Return the images of each class, the files that something is wrong with, and counts."""
        classes = [(name, *(str(row[s]) for s in SPLITS)) for name, row in self.per_class.items()]
        blocks: list[Block] = [
            Line(f"{self.data}: {self.images} files, split by {self.split_by}"),
            Table(("class", *SPLITS), classes, right=SPLITS),
            *(Line(f"note: {note}", "unsure") for note in self.notes),
        ]
        if self.left_out:
            rows = [(e.place, e.kind, e.reason, str(e.count), e.first) for e in self.left_out]
            columns = ("in", "left out", "reason", "number", "first")
            blocks.append(Table(columns, rows, right=("number",)))
            if remedy := remedy_for(self.left_out):
                blocks.append(Line(f"note: {remedy}", "unsure"))
        if self.unreadable:
            files = [(item.file, item.reason) for item in self.unreadable]
            blocks.append(Table(("file", "unreadable because"), files))
        worse = {*self.leaks, *self.label_conflicts}
        for title, groups in (
            ("the same bytes in more than one split (leaks)", self.leaks),
            ("the same bytes with different classes (label conflicts)", self.label_conflicts),
            ("the same bytes (duplicates)", tuple(g for g in self.duplicates if g not in worse)),
        ):
            blocks += _group_table(title, groups)
        return [*blocks, self._counts()]

    def _counts(self) -> Facts:
        return Facts(
            [
                ("unreadable", str(len(self.unreadable))),
                ("left out", left_out_summary(self.left_out) or "none"),
                ("duplicates", f"{len(self.duplicates)} groups with the same bytes"),
                ("leaks", f"{len(self.leaks)} groups in more than one split"),
                ("label conflicts", f"{len(self.label_conflicts)} groups with different classes"),
                ("rare classes", ", ".join(self.rare_classes) or "none"),
                ("small", f"{self.small} images under {SMALL_SIDE} pixels"),
                (
                    "EXIF-rotated",
                    f"{self.rotated_by_exif} images; rtl applies the EXIF orientation",
                ),
                ("fingerprint", self.fingerprint[:16]),
            ]
        )


def _group_table(title: str, groups: Sequence[Sequence[str]]) -> list[Block]:
    """Return a table with a row for each group, the first file beside the others."""
    if not groups:
        return []
    if len(groups) > LISTED_GROUPS:
        title += f", {LISTED_GROUPS} of {len(groups)}; --json lists all"
    rows = []
    for first, *others in groups[:LISTED_GROUPS]:
        more = len(others) - LISTED_COPIES
        shown = others[:LISTED_COPIES] + ([f"and {more} more"] if more > 0 else [])
        rows.append((first, "\n".join(shown)))
    return [Table(("file", "is also"), rows, title=title)]
