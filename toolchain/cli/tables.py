"""Results as rich tables on standard output: the blocks of `toolchain.display`, drawn."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from toolchain import display
from toolchain.cli import terminal
from toolchain.cli.cell_text import CellText
from toolchain.cli.streams import write_line
from toolchain.cli.terminal import console
from toolchain.display import Block, Cell, Displayed, Tone
from toolchain.display import megabytes as megabytes
from toolchain.display import percent as percent
from toolchain.exporters.export_result import exported_blocks
from toolchain.glossary import terms_in
from toolchain.printable import printable, printable_lines

if TYPE_CHECKING:
    from toolchain.cache import EngineEntry, FeaturesEntry, SearchCache
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
HARD_FIGURES = ("finetune", "evaluate")
"""Commands whose output always names --explain."""
STATES: dict[str, Tone] = {"ok": "good", "note": "unsure", "problem": "bad"}


def new_table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """Return an empty table; `numbers` are the columns that are aligned to the right."""
    terminal = console().is_terminal
    made = Table(
        box=box.SIMPLE_HEAD if terminal else None,
        pad_edge=False,
        # Two spaces between columns, so that a benchmark fits 80; the box brings one of them.
        padding=(0, 1 if terminal else 2, 0, 0),
    )
    for name in columns:
        right = name in numbers
        head = name if right else CellText(name)
        made.add_column(head, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return made


def facts(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Return a table of names and values."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, CellText(printable(value)) if isinstance(value, str) else value)
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
        write_line("\n".join(line for line in lines if line), sys.stdout)


def show_result(result: Displayed) -> None:
    """Print a result to standard output."""
    show_blocks(result.blocks())


def explain(result: Displayed, command: str, also: str = "", *, wanted: bool, quiet: bool) -> None:
    """Print what the figures of a result mean, and those of `also`, which is printed elsewhere.

    Where that is not wanted, one line says how to get it: on a terminal, and after the commands
    whose figures are hardest.
    """
    if wanted:
        terminal.print_terms(terms_in(f"{display.as_text(result.blocks())}\n{also}", command))
    elif not quiet and (command in HARD_FIGURES or console(stderr=True).is_terminal):
        console(stderr=True).print(Text("what the figures mean: --explain", "dim"))


def show_exported(exported: Sequence[ExportedModel]) -> None:
    """Print the model files that were kept, and the verification of each."""
    show_blocks(exported_blocks(exported))


def show_blocks(blocks: Iterable[Block]) -> None:
    """Print blocks to standard output; pictures are for notebooks."""
    show(*(part for block in blocks for part in _parts(block)))


def _parts(block: Block) -> Iterator[Table | Text]:
    """Yield a block as rich draws it, with its title as a line, which a narrow table would fold."""
    if isinstance(block, display.Picture):
        return
    if isinstance(block, display.Table | display.Facts) and block.title is not None:
        yield Text(printable(block.title), "bold")
    yield rich_block(block)


def rich_block(block: display.Table | display.Facts | display.Line) -> Table | Text:
    """Return a block as rich draws it, without its title."""
    if isinstance(block, display.Line):
        return Text(printable(block.text), STYLES[block.tone])
    if isinstance(block, display.Facts):
        rows = [(name, _rich_cell(value)) for name, value in block.rows]
        return facts(rows)
    table = new_table(*block.columns, numbers=block.right)
    for row in block.rows:
        table.add_row(*map(_rich_cell, row))
    return table


def _rich_cell(cell: Cell) -> Text:
    # Before the columns get their widths; the console replaces what is left.
    if isinstance(cell, str):
        return CellText(printable_lines(cell))
    return CellText(printable_lines(cell.text), STYLES[cell.tone])


def show_cache(folder: str, entries: Sequence[FeaturesEntry]) -> None:
    """Show the kept features, the longest unused first."""
    if not entries:
        show(Text(f"{folder}: nothing is kept"))
        return
    table = new_table("data", "network", "before", "view", "rows", "MB", numbers=("rows", "MB"))
    for entry in entries:
        size = f"{entry.bytes / 1e6:.1f}"
        words = (entry.data, entry.arch, entry.boundary, entry.view, str(entry.rows), size)
        table.add_row(*map(_rich_cell, words))
    total = sum(entry.bytes for entry in entries) / 1e6
    show(Text(f"{folder}: {total:.1f} MB"), table)


def show_engines(folder: str, engines: Sequence[EngineEntry]) -> None:
    """Show the models in the model cache, the longest unused first."""
    if not engines:
        show(Text(f"{folder}: nothing is kept"))
        return
    table = new_table("model", "MB", numbers=("MB",))
    for engine in engines:
        name = CellText(printable(engine.model) or "(damaged)")
        table.add_row(name, f"{engine.bytes / 1e6:.1f}")
    total = sum(engine.bytes for engine in engines) / 1e6
    show(Text(f"{folder}: {total:.1f} MB"), table)


def show_searches(kept: SearchCache) -> None:
    """Show how many searches were stopped and can go on."""
    if not kept.searches:
        show(Text(f"{kept.folder}: nothing is kept"))
        return
    show(Text(f"{kept.folder}: {kept.bytes / 1e6:.1f} MB, stopped searches: {kept.searches}"))


def show_checks(checks: Sequence[Check]) -> None:
    """Show the checks of `rtl doctor`."""
    table = new_table("", "what", "found")
    for check in checks:
        found = check.found + (f"\n→ {check.remedy}" if check.remedy else "")
        state = Text(check.state, STYLES[STATES[check.state]])
        table.add_row(state, check.what, _rich_cell(found))
    show(table)
