"""The benchmark of where a head's seconds go: the table on the page follows from the rows."""

from __future__ import annotations

from typing import Any

from benchmarks import head_parts
from benchmarks.material import read_rows, with_made_part


def row(**changed: Any) -> dict[str, Any]:
    known = {"whole": 20.0, "kept": 8.0, "kept_one_epoch": 6.1, "imports": 4.0}
    known |= {"engine": 1.0, "decoding": 3.0, "network": 9.0}
    return {**known, "images": 397, "machine": "a machine", **changed}


def test_the_page_has_the_table_of_the_stored_rows() -> None:
    page = head_parts.PAGE.read_text(encoding="utf-8")
    table = head_parts.table(read_rows(head_parts.STORE))
    assert page.count(head_parts.BEGIN) == page.count(head_parts.END) == 1
    assert with_made_part(page, head_parts.BEGIN, head_parts.END, table) == page


def test_parts_are_differences_of_whole_commands_and_medians_of_the_rounds() -> None:
    shown = head_parts.table([row(), row(whole=90.0, kept=70.0), row(whole=19.0, kept=8.0)])
    assert "medians of 3 rounds" in shown
    assert "| the whole command, with an empty cache | 20.0 s |" in shown
    assert (
        "features of 397 photographs: what the command saves where they are kept | 12.0 s" in shown
    )
    assert "| 20 epochs of the head | 2.0 s |" in shown
    assert "the run written and its curves drawn | 2.0 s |" in shown
