"""What was chosen before the training began: the candidates, their figures and the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.display import Cell, Facts, Span, Table
from toolchain.runs.selection import Selection


@dataclass(frozen=True)
class Choice:
    """One choice: of the source model, or of the strategy and its settings."""

    title: str
    facts: Sequence[tuple[str, str]]
    """What was chosen, and why."""
    columns: Sequence[str]
    rows: Sequence[Sequence[tuple[str, str]]]
    """(text, tone) of each cell, a row for each candidate."""
    caption: str


def choices(selection: Selection | None) -> list[Choice]:
    """Return the choices of a run in the order in which they were made; empty for none."""
    if selection is None:
        return []
    source = selection.source
    found = [] if source is None else [_choice("The source model", source)]
    return [*found, _choice(_title(selection), selection)]


def _title(selection: Selection) -> str:
    sources = {"weights", "arch"}
    return "The source model" if sources >= set(selection.chosen) else "The strategy"


def _choice(title: str, selection: Selection) -> Choice:
    blocks = selection.own_blocks()
    table = next(block for block in blocks if isinstance(block, Table))
    facts = next(block for block in blocks if isinstance(block, Facts))
    return Choice(
        title=title,
        facts=[(name, _cell(value)[0]) for name, value in facts.rows],
        columns=table.columns,
        rows=[[_cell(cell) for cell in row] for row in table.rows],
        caption=table.title or "",
    )


def _cell(cell: Cell) -> tuple[str, str]:
    return (cell.text, cell.tone) if isinstance(cell, Span) else (cell, "plain")
