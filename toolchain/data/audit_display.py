"""How the result of an audit is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from toolchain.data.audit_fields import AuditFields
from toolchain.data.file_findings import SMALL_SIDE, SUGGESTIONS, What
from toolchain.data.label_suspects import label_blocks
from toolchain.data.left_out import left_out_summary, remedy_for
from toolchain.data.split_names import SPLITS
from toolchain.display import Block, Facts, Line, Table

LISTED_GROUPS, LISTED_COPIES = 10, 4
"""Groups of equal files that are shown, and files of a group beside its first."""

Names = tuple[str, ...]


def split_words(split_by: str) -> str:
    """Return how data is split, in words that go on after a comma.

    >>> split_words("the folders train/, val/")
    'split by the folders train/, val/'
    >>> split_words("7:1:2 by a stable hash of each file's name")
    "split 7:1:2 by a stable hash of each file's name"
    """
    return f"split {split_by}" if split_by[:1].isdigit() else f"split by {split_by}"


def audit_blocks(audit: AuditFields) -> list[Block]:
    """Return the images of each class, the files that something is wrong with, and counts."""
    blocks: list[Block] = [
        Line(f"{audit.data}: {audit.images} files, {split_words(audit.split_by)}"),
        _classes(audit),
        *(Line(f"note: {note}", "unsure") for note in audit.notes),
    ]
    if audit.left_out:
        rows = [(e.place, e.kind, e.reason, str(e.count), e.first) for e in audit.left_out]
        columns = ("in", "left out", "reason", "number", "first")
        blocks.append(Table(columns, rows, right=("number",)))
        if remedy := remedy_for(audit.left_out):
            blocks.append(Line(f"note: {remedy}", "unsure"))
    if audit.unreadable:
        files = [(item.file, item.reason) for item in audit.unreadable]
        blocks.append(Table(("file", "unreadable because"), files))
    blocks += _groups(audit)
    blocks += _of_single_files(audit)
    if audit.label_errors is not None:
        blocks += label_blocks(audit.label_errors)
    elif audit.labels_not_checked:
        blocks.append(Line(f"labels: not checked, {audit.labels_not_checked}", "quiet"))
    return [*blocks, _counts(audit)]


def _classes(audit: AuditFields) -> Table:
    rows = [(name, *(str(row[s]) for s in SPLITS)) for name, row in audit.per_class.items()]
    if not audit.sizes:
        return Table(("class", *SPLITS), rows, right=SPLITS)
    with_sizes = [(*row, _sides(audit.sizes.get(row[0], {}))) for row in rows]
    return Table(("class", *SPLITS, "short side"), with_sizes, right=(*SPLITS, "short side"))


def _sides(of_split: dict[str, tuple[int, int, int]]) -> str:
    """Return the range of the short sides of a class in pixels, over all splits."""
    if not of_split:
        return "–"
    least, largest = min(s[0] for s in of_split.values()), max(s[2] for s in of_split.values())
    return f"{least}" if least == largest else f"{least}–{largest}"


def _groups(audit: AuditFields) -> list[Block]:
    worse = {*audit.leaks, *audit.label_conflicts}
    near_worse = {*audit.near_leaks, *audit.near_label_conflicts}
    blocks: list[Block] = []
    for title, groups in (
        ("the same image in more than one split (leaks)", audit.leaks),
        ("the same image with different classes (label conflicts)", audit.label_conflicts),
        ("the same image (duplicates)", _without(audit.duplicates, worse)),
        ("images that look the same, in more than one split (near leaks)", audit.near_leaks),
        ("images that look the same, with different classes", audit.near_label_conflicts),
        (
            "images that look the same (near duplicates)",
            _without(audit.near_duplicates, near_worse),
        ),
    ):
        blocks += _group_table(title, groups)
    return blocks


def _without(groups: Sequence[Names], others: set[Names]) -> tuple[Names, ...]:
    return tuple(group for group in groups if group not in others)


def _group_table(title: str, groups: Sequence[Names]) -> list[Block]:
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


def _of_single_files(audit: AuditFields) -> list[Block]:
    """Return a table with a row for each kind of finding: how many files, the first, what to do."""
    firsts = {finding.what: finding for finding in reversed(audit.findings)}
    rows = []
    for what in dict.fromkeys(finding.what for finding in audit.findings):
        count = len({f.file for f in audit.findings if f.what == what})
        first = firsts[what]
        suggestion = SUGGESTIONS.get(cast("What", what), "look")
        rows.append((what, f"{count:,}", f"{first.file}: {first.detail}", suggestion))
    if not rows:
        return []
    columns = ("images", "number", "first", "what to do")
    return [Table(columns, rows, right=("number",), title="worth a look; --json lists all")]


def _counts(audit: AuditFields) -> Facts:
    truncated = f", {len(audit.truncated)} of them end early" if audit.truncated else ""
    near = f"{len(audit.near_duplicates)} groups of images that look the same"
    if audit.near_leaks:
        near += f", {len(audit.near_leaks)} of them in more than one split"
    return Facts(
        [
            ("unreadable", f"{len(audit.unreadable)}{truncated}"),
            ("left out", left_out_summary(audit.left_out) or "none"),
            ("duplicates", f"{len(audit.duplicates)} groups with the same bytes or pixels"),
            ("leaks", f"{len(audit.leaks)} groups in more than one split"),
            ("label conflicts", f"{len(audit.label_conflicts)} groups with different classes"),
            ("near duplicates", near),
            ("rare classes", ", ".join(audit.rare_classes) or "none"),
            ("imbalance", _imbalance(audit)),
            ("small", f"{audit.small} images under {SMALL_SIDE} pixels"),
            (
                "EXIF-rotated",
                f"{audit.rotated_by_exif} images; rtl applies the EXIF orientation",
            ),
            ("fingerprint", audit.fingerprint[:16]),
        ]
    )


def _imbalance(audit: AuditFields) -> str:
    if audit.imbalance is None:
        return "a class has no training image"
    return f"the largest class has {audit.imbalance:g} times the images of the smallest"
