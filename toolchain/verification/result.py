"""The result of a verification: its levels, each against one reference, and whether all passed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from toolchain.display import Block, Cell, Displayed, Span, Table
from toolchain.errors import ParityError

Figures = dict[str, float | int | str | tuple[str, ...] | dict[str, int] | None]

PORTABLE_REFERENCES = ("card", "references", "report", "single images", "made pictures")
"""What travels with a file: without the trained model they can't tell one layer from another."""


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison. The fields are described in docs/json.md."""

    level: str
    against: str
    """The reference."""
    passed: bool
    rule: str
    """What was asked of the figures, for a person."""
    summary: str
    """The figures in one line, for a person."""
    figures: Figures
    where: str | None = None
    """Where the difference begins: the stage, or the layer with its operator and difference."""


class Verification(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """All levels of a model file. The fields are described in docs/json.md."""

    version: int = 3
    model: str
    sha256: str
    provider: str
    passed: bool
    levels: tuple[Level, ...]
    versions: dict[str, str]
    """Installed packages that shape a figure."""
    seconds: float

    def blocks(self) -> list[Block]:
        """Return a row for each level, and where the model differs below one that failed."""
        rows: list[tuple[Cell, ...]] = []
        for level in self.levels:
            verdict = Span("passed", "good") if level.passed else Span("FAILED", "bad")
            rows.append((level.level, f"the {level.against}", verdict, level.summary))
            if level.where is not None and not level.passed:
                rows.append(("", "", "", Span(f"begins at {level.where}", "bad")))
        title = f"{self.model} on {self.provider}"
        return [Table(("level", "against", "verdict", "figures"), rows, title=title)]


def failed(level: str, against: str, message: str, *, where: str | None = None) -> Level:
    """Return the failed level of a model that could not be computed or compared at all."""
    return Level(
        level=level,
        against=against,
        passed=False,
        rule="the model computes what it is asked to",
        summary=message,
        figures={"error": message},
        where=where,
    )


def require_parity(result: Verification) -> None:
    """Raise ParityError for the first level that failed; its hint says where it begins."""
    failed_levels = [level for level in result.levels if not level.passed]
    if not failed_levels:
        return
    first = failed_levels[0]
    where = where_it_begins(failed_levels)
    raise ParityError(
        f"{result.model}: {first.level} against the {first.against} failed: {first.summary}",
        hint=f"the rule is: {first.rule}" + (f"; it begins at {where}" if where else ""),
    )


def where_it_begins(failed_levels: Sequence[Level]) -> str | None:
    """Return `where` of the first level that has one; levels with the trained model come first.

    Of these, pixels come first: where they differ, so do the numbers that are computed from them.
    """
    located = [level for level in failed_levels if level.where is not None]
    located.sort(key=lambda one: (one.against in PORTABLE_REFERENCES, one.level != "pixels"))
    return located[0].where if located else None
