"""The measurements as they were made: a line of JSON each, appended as each one ends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

STORE = Path(__file__).with_name("results.jsonl")

Row = dict[str, Any]
"""`subject` (train, predict, start, inference), `who`, `run` (the same for what was measured in
turn), `date`, `machine`, `versions` and `load`; then figures, or `skipped`, the reason for none."""
QUIET = ("machine", "versions", "curve", "date", "run")
"""What is not printed of a row."""


def read_rows(store: Path = STORE) -> list[Row]:
    """Return the rows of a store, the oldest first; none where it does not exist."""
    if not store.is_file():
        return []
    return [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines()]


def append_row(row: Row, store: Path) -> None:
    """Append a row to a store and print it."""
    with store.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps({k: v for k, v in row.items() if k not in QUIET}), flush=True)


def measured(rows: Iterable[Row], subject: str) -> list[Row]:
    """Return the rows of a subject that have figures."""
    return [row for row in rows if row["subject"] == subject and "skipped" not in row]


def skipped(rows: Iterable[Row], subject: str) -> dict[str, str]:
    """Return who could not be measured → the latest reason; not those who were at another time."""
    rows = [row for row in rows if row["subject"] == subject]
    found = {row["who"]: row["skipped"] for row in rows if "skipped" in row}
    for row in measured(rows, subject):
        found.pop(row["who"], None)
    return found
