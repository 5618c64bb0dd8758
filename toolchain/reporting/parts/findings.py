"""What the audit of the data found, with pictures: equal and similar images, odd files, labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from toolchain.data.audit_result import Audit
from toolchain.data.file_findings import KINDS, SUGGESTIONS
from toolchain.data.label_suspects import Suspect
from toolchain.display import percent

MOST_GROUPS = 6
"""Groups of equal or similar images that are shown, of each kind."""
MOST_COPIES = 4
"""Images of a group that are shown."""
MOST_FILES = 12
"""Files of each kind that are shown."""
MOST_SUSPECTS = 12

Pictured = tuple[str, str | None]
"""(file, picture)."""
Picture = Callable[[str], str | None]


class Finding(NamedTuple):
    """Something that the audit found."""

    name: str
    meaning: str
    found: int
    bad: bool
    groups: Sequence[Sequence[Pictured]]
    """Some of the groups, or one with some of the files."""


class LabelSuspect(NamedTuple):
    """An image whose label may be wrong, beside the most similar one."""

    image: Pictured
    label: str
    likelier: str
    similar: Pictured | None


def group_findings(audit: Audit, picture: Picture) -> list[Finding]:
    """Return the groups of equal images, found or not, and those of similar ones that there are."""
    equal = _without(audit.duplicates, audit.leaks, audit.label_conflicts)
    similar = _without(audit.near_duplicates, audit.near_leaks, audit.near_label_conflicts)
    alike = "images that are nearly equal"
    kinds = (
        ("leaks", "equal images in training and in validation or test", audit.leaks, True),
        ("label conflicts", "equal images with different classes", audit.label_conflicts, True),
        ("duplicates", "equal images in one split", equal, False),
        ("near leaks", f"{alike}, in more than one split", audit.near_leaks, True),
        ("near conflicts", f"{alike}, with different classes", audit.near_label_conflicts, True),
        ("near duplicates", f"{alike}, in one split", similar, False),
    )
    return [
        _finding(name, meaning, groups, bad, picture)
        for name, meaning, groups, bad in kinds
        # An older audit, or a quick one, has not searched for all of the similar ones.
        if groups or not name.startswith("near")
    ]


def file_findings(audit: Audit, picture: Picture) -> list[Finding]:
    """Return what is unusual about single files, by its kind."""
    files: dict[str, list[str]] = defaultdict(list)
    for one in audit.findings:
        files[one.what].append(one.file)
    known = [kind for kind in KINDS if kind in files]
    return [
        Finding(
            kind,
            SUGGESTIONS[kind],
            len(files[kind]),
            False,
            [[(file, picture(file)) for file in files[kind][:MOST_FILES]]],
        )
        for kind in known
    ]


def label_suspects(audit: Audit, picture: Picture) -> tuple[list[LabelSuspect], int]:
    """Return (the images whose labels are least likely, how many labels are contradicted)."""
    found = () if audit.label_errors is None else audit.label_errors.suspects
    contradicted = [suspect for suspect in found if suspect.contradicted]
    return [_suspect(one, picture) for one in contradicted[:MOST_SUSPECTS]], len(contradicted)


def _suspect(suspect: Suspect, picture: Picture) -> LabelSuspect:
    nearest = suspect.neighbours[0] if suspect.neighbours else None
    return LabelSuspect(
        (suspect.file, picture(suspect.file)),
        f"{suspect.label} {percent(suspect.label_probability)}",
        f"{suspect.likelier} {percent(suspect.likelier_probability)}",
        None if nearest is None else (nearest, picture(nearest)),
    )


def _without(
    groups: Sequence[Sequence[str]], *others: Sequence[Sequence[str]]
) -> list[Sequence[str]]:
    named = {tuple(group) for other in others for group in other}
    return [group for group in groups if tuple(group) not in named]


def _finding(
    name: str, meaning: str, groups: Sequence[Sequence[str]], bad: bool, picture: Picture
) -> Finding:
    shown = [
        [(file, picture(file)) for file in group[:MOST_COPIES]] for group in groups[:MOST_GROUPS]
    ]
    return Finding(name, meaning, len(groups), bad and bool(groups), shown)
