"""Results as rich tables on standard output: the blocks of `toolchain.display`, drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table
from rich.text import Text

from toolchain import display
from toolchain.cli.terminal import console
from toolchain.display import Block, Cell, Displayed, Tone, printable
from toolchain.display import megabytes as megabytes
from toolchain.display import percent as percent
from toolchain.exporters.export_result import exported_blocks

if TYPE_CHECKING:
    from toolchain.cache import EngineEntry, FeaturesEntry
    from toolchain.doctor import Check
    from toolchain.exporters.outcome import ExportedModel

STYLES: dict[Tone, str] = {
    "plain": "",
    "good": "green",
    "bad": "bold red",
    "error": "red",
    "unsure": "yellow",
    "quiet": "dim",
}
STATES: dict[str, Tone] = {"ok": "good", "note": "unsure", "problem": "bad"}


def new_table(*columns: str, title: str | None = None, numbers: Sequence[str] = ()) -> Table:
    """Return an empty table; `numbers` are the columns that are aligned to the right."""
    terminal = console().is_terminal
    made = Table(
        box=box.SIMPLE_HEAD if terminal else None,
        title=title,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        # Two spaces between columns, so that a benchmark fits 80; the box brings one of them.
        padding=(0, 1 if terminal else 2, 0, 0),
    )
    for name in columns:
        right = name in numbers
        made.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return made


def facts(rows: Iterable[tuple[str, str | Text]], *, title: str | None = None) -> Table:
    """Return a table of names and values."""
    made = Table(box=None, show_header=False, title=title, title_justify="left", pad_edge=False)
    made.title_style = "bold"
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, printable(value) if isinstance(value, str) else value)
    return made


def show(*parts: Table | Text) -> None:
    """Print parts of a result to standard output."""
    out = console()
    for part in parts:
        if out.is_terminal:
            out.print(part)
            continue
        with out.capture() as captured:
            out.print(part)
        # Tables fill their cells with spaces, which are noise in a file.
        lines = (line.rstrip() for line in captured.get().splitlines())
        click.echo("\n".join(line for line in lines if line))


def show_result(result: Displayed) -> None:
    """Print a result to standard output."""
    show_blocks(result.blocks())


def show_exported(exported: Sequence[ExportedModel]) -> None:
    """Print the model files that were kept, and the verification of each."""
    show_blocks(exported_blocks(exported))


def show_blocks(blocks: Iterable[Block]) -> None:
    """Print blocks to standard output; pictures are for notebooks."""
    show(*(rich_block(block) for block in blocks if not isinstance(block, display.Picture)))


def rich_block(block: display.Table | display.Facts | display.Line) -> Table | Text:
    """Return a block as rich draws it."""
    if isinstance(block, display.Line):
        return Text(block.text, STYLES[block.tone])
    if isinstance(block, display.Facts):
        rows = [(name, _rich_cell(value)) for name, value in block.rows]
        return facts(rows, title=block.title)
    table = new_table(*block.columns, title=block.title, numbers=block.right)
    for row in block.rows:
        table.add_row(*map(_rich_cell, row))
    return table


def _rich_cell(cell: Cell) -> str | Text:
    return cell if isinstance(cell, str) else Text(cell.text, STYLES[cell.tone])


def show_cache(folder: str, entries: Sequence[FeaturesEntry]) -> None:
    """Show the kept features, the longest unused first."""
    if not entries:
        show(Text(f"{folder}: nothing is kept"))
        return
    table = new_table("data", "network", "before", "view", "rows", "MB", numbers=("rows", "MB"))
    for entry in entries:
        size = f"{entry.bytes / 1e6:.1f}"
        table.add_row(entry.data, entry.arch, entry.boundary, entry.view, str(entry.rows), size)
    total = sum(entry.bytes for entry in entries) / 1e6
    show(Text(f"{folder}: {total:.1f} MB"), table)


def show_engines(folder: str, engines: Sequence[EngineEntry]) -> None:
    """Show the models in the model cache, the longest unused first."""
    if not engines:
        show(Text(f"{folder}: nothing is kept"))
        return
    table = new_table("model", "MB", numbers=("MB",))
    for engine in engines:
        name = Text(printable(engine.model) or "(damaged)")
        table.add_row(name, f"{engine.bytes / 1e6:.1f}")
    total = sum(engine.bytes for engine in engines) / 1e6
    show(Text(f"{folder}: {total:.1f} MB"), table)


def show_checks(checks: Sequence[Check]) -> None:
    """Show the checks of `rtl doctor`."""
    table = new_table("", "what", "found")
    for check in checks:
        found = check.found + (f"\n→ {check.remedy}" if check.remedy else "")
        table.add_row(Text(check.state, STYLES[STATES[check.state]]), check.what, found)
    show(table)
