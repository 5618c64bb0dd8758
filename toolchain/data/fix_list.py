"""The list of files to mend that `rtl data check --fix-list` writes: file, what, suggestion.

It is a CSV that a person edits. `rtl finetune --exclude` leaves out the files whose suggestion
begins with `exclude`; data folders are never changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

from toolchain.data.audit_fields import AuditFields
from toolchain.data.file_findings import SUGGESTIONS, What
from toolchain.data.label_suspects import Suspect
from toolchain.data.left_out import LeftOut, is_clutter, left_out_summary, remedy_for
from toolchain.files import write_text

COLUMNS = ("file", "what", "suggestion")
EXCLUDE = "exclude"
"""The first word of a suggestion that `--exclude` acts on."""
SPLIT_KEPT = ("train", "val", "test")
"""Of an image in several splits that of the last one stays: results stay comparable."""


AS_ASKED = frozenset(("excluded by the list", "a comment"))
"""Reasons for which what is left out needs no mending."""
FOR_LEFT_OUT: dict[str, str] = {
    "no image by its ending": "convert it to JPEG or PNG, or move it away",
    "hidden": "rename it without the dot if it has images",
    "a link to a folder": "put the folder itself there",
    "not a regular file": "move it away",
    "can't be listed": "allow to read the folder",
    "in no class folder": "move it into the folder of its class",
    "no split by its name": "rename it train, val or test, or move it away",
    "another one for its split": "keep one for the split",
    "a class without images": "add images, or remove the folder",
    "in no list": "add a line for it, or leave it",
    "without labels": "add a column with the class, or move it away",
}
"""Reason → what to do about files that were left out for it."""


class Fix(NamedTuple):
    """One row."""

    file: str
    what: str
    suggestion: str


def write_fix_list(path: Path, audit: AuditFields, split_of: dict[str, str]) -> int:
    """Write the list of what an audit found, whole or not at all; return the number of rows.

    `split_of` is the split of each file by its name. Raises OSError.
    """
    rows = list(fixes(audit, split_of))
    write_rows(path, rows)
    return len(rows)


def write_rows(path: Path, rows: Iterable[Fix]) -> None:
    """Write rows as a fix list, whole or not at all. Raises OSError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def fixes(audit: AuditFields, split_of: dict[str, str]) -> Iterator[Fix]:
    """Yield what to do about each file, the worst first; a file may have several rows."""
    truncated = set(audit.truncated)
    for item in audit.unreadable:
        what = "truncated" if item.file in truncated else "unreadable"
        yield Fix(item.file, f"{what}: {item.reason}", f"{EXCLUDE}, or replace it")
    yield from _of_equal(audit, split_of)
    yield from _of_near(audit, split_of)
    if audit.label_errors is not None:
        yield from map(_of_suspect, filter(_is_contradicted, audit.label_errors.suspects))
    for finding in audit.findings:
        suggestion = SUGGESTIONS.get(cast("What", finding.what), "look")
        yield Fix(finding.file, f"{finding.what}: {finding.detail}", suggestion)
    for entry in audit.left_out:
        if not is_clutter(entry) and entry.reason not in AS_ASKED:
            yield _of_left_out(entry)


def _of_left_out(entry: LeftOut) -> Fix:
    """Return one row for files of one kind in one place, under the name of the first."""
    first = "" if entry.count == 1 else f", of which this is the first in {entry.place}"
    what = f"left out: {left_out_summary([entry])}{first}"
    suggestion = remedy_for([entry]) or FOR_LEFT_OUT.get(entry.reason, "look")
    return Fix(entry.first, what, suggestion)


def _of_equal(audit: AuditFields, split_of: dict[str, str]) -> Iterator[Fix]:
    leaks, conflicts = set(audit.leaks), set(audit.label_conflicts)
    for group in audit.duplicates:
        kept = _kept(group, split_of)
        for file in group:
            other = kept if file != kept else next(name for name in group if name != file)
            if group in conflicts:
                what = "label conflict"
                yield Fix(file, f"{what}: the same image as {other}", f"{EXCLUDE}, or relabel one")
            elif file != kept:
                what = "leak" if group in leaks else "duplicate"
                yield Fix(file, f"{what}: the same image as {kept}", EXCLUDE)


def _of_near(audit: AuditFields, split_of: dict[str, str]) -> Iterator[Fix]:
    leaks, conflicts = set(audit.near_leaks), set(audit.near_label_conflicts)
    done = {name for group in audit.duplicates for name in group[1:]}
    for group in audit.near_duplicates:
        kept = _kept(group, split_of)
        for file in group:
            if file == kept or file in done:
                continue
            what = "near leak" if group in leaks else "near duplicate"
            if group in conflicts:
                what += " of another class"
            apart = split_of.get(file) != split_of.get(kept)
            suggestion = EXCLUDE if apart and group not in conflicts else "look"
            yield Fix(file, f"{what}: looks like {kept}", suggestion)


def _is_contradicted(suspect: Suspect) -> bool:
    return suspect.contradicted


def _of_suspect(suspect: Suspect) -> Fix:
    what = (
        f"label may be wrong: {suspect.label} {suspect.label_probability:.0%}, "
        f"{suspect.likelier} {suspect.likelier_probability:.0%}"
    )
    return Fix(suspect.file, what, f"look, or relabel as {suspect.likelier}")


def _kept(group: tuple[str, ...], split_of: dict[str, str]) -> str:
    """Return the file of a group that stays: the first of those in the last split."""
    return max(group, key=lambda name: SPLIT_KEPT.index(split_of.get(name, "train")))
