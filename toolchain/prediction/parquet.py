"""Predictions as a Parquet file."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolchain.errors import DataError
from toolchain.files import atomic_file
from toolchain.prediction.rows import Result, json_row, shown_text
from toolchain.runtime.card import Card

GROUP = 10_000
"""Rows that are held until they are written together."""


class ParquetFile:
    """A file with a column for each key of docs/json.md; it appears when all rows are in it."""

    def __init__(self, path: Path, card: Card, top: int) -> None:
        if path.exists():
            raise DataError(
                f"{path} exists; predictions are never written over", hint="another --output"
            )
        self.path, self.card, self.top = path, card, top
        self.schema = _schema(card)
        self.written = 0
        self._group: list[dict[str, Any]] = []
        self._open = ExitStack()

    def __enter__(self) -> ParquetFile:
        temporary = self._open.enter_context(atomic_file(self.path))
        self._file = self._open.enter_context(pq.ParquetWriter(temporary, self.schema))
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            try:
                self._write_group()
            except BaseException:
                self._open.__exit__(*sys.exc_info())  # what is not whole does not appear
                raise
        self._open.__exit__(*error)

    def write(self, name: str, result: Result) -> None:
        """Add a row."""
        row = json_row(shown_text(name), result, self.card, self.top)
        if "error" in row:
            row["error"] = shown_text(str(row["error"]))
        self._group.append(row)
        self.written += 1
        if len(self._group) == GROUP:
            self._write_group()

    def _write_group(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._group, self.schema))
        self._group = []


def _schema(card: Card) -> pa.Schema:
    best = pa.struct([("label", pa.string()), ("probability", pa.float64())])
    if card.task == "multi-label":
        said = [("labels", pa.list_(pa.string())), ("probabilities", pa.list_(pa.float64()))]
    else:
        said = [("label", pa.string()), ("probability", pa.float64())]
        said += [("rejected", pa.bool_())] if card.threshold is not None else []
    errors = [("error", pa.string()), ("accepted", pa.string())]
    return pa.schema([("file", pa.string()), *said, ("top", pa.list_(best)), *errors])
