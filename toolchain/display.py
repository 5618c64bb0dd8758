"""What a result consists of when a person reads it, and how that becomes plain text and HTML.

A result class lists its content once, as blocks. `repr` shows them as text, a notebook as HTML, and
the command line as rich tables (`toolchain.cli.tables`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from toolchain.printable import printable

Tone = Literal["plain", "good", "bad", "error", "unsure", "quiet"]
"""What a text means; each output has a colour for it."""


class Span(NamedTuple):
    """A piece of text that has a tone."""

    text: str
    tone: Tone = "plain"


Cell = str | Span
"""The content of one cell of a table; it may have several lines."""


class Table(NamedTuple):
    """Rows under named columns; those in `right` are aligned to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: Sequence[str] = ()
    title: str | None = None


class Facts(NamedTuple):
    """Names and their values, one pair a row."""

    rows: Sequence[tuple[str, Cell]]
    title: str | None = None


class Line(NamedTuple):
    """A line of text; an empty one separates blocks."""

    text: str = ""
    tone: Tone = "plain"


class Picture(NamedTuple):
    """A PNG file. HTML shows it where it still exists; text leaves it out."""

    path: Path
    description: str


Block = Table | Facts | Line | Picture


class Displayed:
    """Base of results that show their blocks, as `repr` and in a notebook.

    Listed before `msgspec.Struct`; a dataclass needs `repr=False` beside it.
    """

    __slots__ = ()

    def blocks(self) -> list[Block]:
        """Return the content in reading order."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return as_text(self.blocks())

    def _repr_html_(self) -> str:
        return as_html(self.blocks())


def as_text(blocks: Iterable[Block]) -> str:
    """Return blocks as plain text, as a command prints them into a pipe.

    >>> print(as_text([Facts([("run", "runs/food"), ("best epoch", "3 of 4")])]))
    run         runs/food
    best epoch  3 of 4
    """
    return "\n".join(line for block in blocks for line in _text_lines(block))


def as_html(blocks: Iterable[Block]) -> str:
    """Return blocks as HTML. All text is escaped: a class may be called `<script>`.

    >>> as_html([Line("<b>")])
    '<div>&lt;b&gt;</div>'
    """
    parts = [part for block in blocks for part in _html_parts(block)]
    return parts[0] if len(parts) == 1 else f"<div>{''.join(parts)}</div>"


def as_markdown(blocks: Iterable[Block]) -> str:
    r"""Return blocks as Markdown, whose letters with a meaning are escaped; pictures are left out.

    >>> print(as_markdown([Table(("model", "ms"), [("a|b_c", "1.0")], right=("ms",))]))
    | model | ms |
    |---|--:|
    | a\|b\_c | 1.0 |
    """
    return "\n\n".join("\n".join(lines) for block in blocks if (lines := _markdown_lines(block)))


def percent(rate: float) -> str:
    """Write a rate in 0…1 as a percentage.

    >>> percent(0.925)
    '92.5 %'
    """
    return f"{rate:.1%}".replace("%", " %")


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number and what it counts.

    >>> counted(1, "image"), counted(2, "group of images", "groups of images")
    ('1 image', '2 groups of images')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {plural or f'{noun}s'}"


def megabytes(count: int) -> str:
    """Write a number of bytes in MB of 10⁶ bytes.

    >>> megabytes(44_700_000)
    '44.7 MB'
    """
    return f"{count / 1e6:.1f} MB"


def _cell_lines(cell: Cell) -> list[str]:
    text = cell if isinstance(cell, str) else cell.text
    return [printable(line) for line in text.split("\n")]


def _text_lines(block: Block) -> Iterator[str]:
    if isinstance(block, Picture):
        return
    if isinstance(block, Line):
        yield printable(block.text)
        return
    if block.title is not None:
        yield printable(block.title)
    if isinstance(block, Table):
        right = [name in block.right for name in block.columns]
        yield from _aligned([block.columns, *block.rows], right)
    else:
        yield from _aligned(block.rows, [False, False])


def _aligned(rows: Sequence[Sequence[Cell]], right: Sequence[bool]) -> Iterator[str]:
    """Yield the lines of a table, with two spaces between its columns."""
    cells = [[_cell_lines(cell) for cell in row] for row in rows]
    widths = [
        max((_width(line) for row in cells for line in row[column]), default=0)
        for column in range(len(right))
    ]
    for row in cells:
        for number in range(max(len(lines) for lines in row)):
            line = "  ".join(
                _padded(lines[number] if number < len(lines) else "", width, to_right)
                for lines, width, to_right in zip(row, widths, right, strict=True)
            ).rstrip()
            if line:
                yield line


def _padded(text: str, width: int, right: bool) -> str:
    spaces = " " * (width - _width(text))
    return spaces + text if right else text + spaces


def _width(text: str) -> int:
    """Count the columns of a terminal that a text takes; an East Asian wide letter takes two."""
    if text.isascii():
        return len(text)
    import unicodedata  # here, as it loads a library of its own

    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


MARKDOWN_LETTERS = re.compile(r"([\\`*_{}\[\]<>#|~])")


def _markdown_lines(block: Block) -> list[str]:
    if isinstance(block, Picture):
        return []
    if isinstance(block, Line):
        return [_markdown_text(block.text)] if block.text else []
    title = [] if block.title is None else [f"**{_markdown_text(block.title)}**", ""]
    columns = block.columns if isinstance(block, Table) else ("", "")
    right = block.right if isinstance(block, Table) else ()
    rules = ["--:" if name in right else "---" for name in columns]
    rows = [" | ".join(map(_markdown_text, row)) for row in (columns, *block.rows)]
    return [*title, f"| {rows[0]} |", f"|{'|'.join(rules)}|", *(f"| {row} |" for row in rows[1:])]


def _markdown_text(cell: Cell) -> str:
    return "<br>".join(MARKDOWN_LETTERS.sub(r"\\\1", line) for line in _cell_lines(cell))


HTML_STYLES: dict[Tone, str] = {
    "good": "color: green",
    "bad": "color: #c00; font-weight: bold",
    "error": "color: #c00",
    "unsure": "color: #a60",
    "quiet": "opacity: 0.6",
}


def _html_parts(block: Block) -> Iterator[str]:
    if isinstance(block, Picture):
        yield from _html_picture(block)
    elif isinstance(block, Line):
        yield f"<div>{_html_text(Span(block.text, block.tone)) or '&nbsp;'}</div>"
    elif isinstance(block, Table):
        styles = ["right" if name in block.right else "left" for name in block.columns]
        head = "".join(_html_cell("th", *pair) for pair in zip(block.columns, styles, strict=True))
        yield _html_table(block.title, f"<thead><tr>{head}</tr></thead>", block.rows, styles)
    else:
        yield _html_table(block.title, "", block.rows, ["left", "left"])


def _html_table(
    title: str | None, head: str, rows: Sequence[Sequence[Cell]], sides: Sequence[str]
) -> str:
    caption = "" if title is None else f"<caption>{_html_text(title)}</caption>"
    body = "".join(
        f"<tr>{''.join(_html_cell('td', *pair) for pair in zip(row, sides, strict=True))}</tr>"
        for row in rows
    )
    return f"<table>{caption}{head}<tbody>{body}</tbody></table>"


def _html_cell(tag: str, cell: Cell, side: str) -> str:
    return f'<{tag} style="text-align: {side}">{_html_text(cell)}</{tag}>'


def _html_text(cell: Cell) -> str:
    from html import escape  # here: `rtl --help` needs neither this nor its tables of entities

    text = "<br>".join(map(escape, _cell_lines(cell)))
    style = None if isinstance(cell, str) else HTML_STYLES.get(cell.tone)
    return text if style is None else f'<span style="{style}">{text}</span>'


def _html_picture(picture: Picture) -> Iterator[str]:
    from base64 import b64encode
    from html import escape

    try:
        data = b64encode(picture.path.read_bytes()).decode()
    except OSError:  # the run folder was moved or removed since
        return
    description = escape(printable(picture.description))
    yield f'<img src="data:image/png;base64,{data}" alt="{description}" style="max-width: 100%">'
