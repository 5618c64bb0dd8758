"""Cells of tables: a long path is broken after a separator, not at any letter."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from toolchain.cli import tables
from toolchain.cli.cell_text import pieces
from toolchain.display import Table

PATH = "runs/photos-of-mushrooms/export/model.image.int8.onnx"


def drawn(width: int) -> list[str]:
    """Return the lines of a table with a long path in a cell and in a title of a column."""
    table = Table(("model", f"answers beside {PATH}"), [(PATH, "none of it, and see " + PATH)])
    made = Console(file=io.StringIO(), width=width)
    made.print(tables.rich_block(table))
    assert isinstance(made.file, io.StringIO)
    return [line.rstrip() for line in made.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_long_path_is_broken_after_its_separators(width: int) -> None:
    lines = drawn(width)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for part in ("export/", "mushrooms/", "none", "see", "answers", "beside"):
        assert any(
            word.startswith(part) or f"/{part}" in word or f"-{part}" in word for word in words
        ), part


def test_no_letter_is_lost_and_a_short_word_stays_whole() -> None:
    assert "".join(pieces(PATH, 12)) == PATH
    assert pieces("layer4", 12) == ["layer4"]
    assert all(len(piece) <= 20 for piece in pieces(PATH, 20))
