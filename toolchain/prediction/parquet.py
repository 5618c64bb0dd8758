"""Predictions as a Parquet file."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from toolchain.errors import DataError
from toolchain.files import atomic_file
from toolchain.prediction.rows import PredictionOrError, json_row, shown_text
from toolchain.prediction.sinks import Sink
from toolchain.runtime.card import Card
from toolchain.runtime.predictor import Predictor

GROUP_ROWS = 10_000
"""Rows of one row group: they are held in memory and written together."""


class ParquetFile(Sink):
    """A file with a column for each key of docs/json.md; it appears when all rows are in it."""

    def __init__(self, path: Path, *, top: int = 1) -> None:
        self.path, self.top = path, top
        self._group: list[dict[str, Any]] = []
        self._opened = ExitStack()

    def open(self, predictor: Predictor) -> Self:
        """Create a temporary file beside `path`; raise DataError where `path` exists."""
        if self.path.exists():
            raise DataError(
                f"{self.path} exists; predictions are never written over", hint="another --output"
            )
        self.schema = _schema(predictor.card)
        temporary = self._opened.enter_context(atomic_file(self.path))
        self._file = self._opened.enter_context(pq.ParquetWriter(temporary, self.schema))
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            try:
                self._write_group()
            except BaseException:
                self._opened.__exit__(*sys.exc_info())  # an incomplete file is removed
                raise
        self._opened.__exit__(*error)

    def write(self, name: str, result: PredictionOrError) -> None:
        """Add a row."""
        row = json_row(shown_text(name), result, self.top)
        if "error" in row:
            row["error"] = shown_text(str(row["error"]))
        self._group.append(row)
        if len(self._group) == GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._group, self.schema))
        self._group = []


def _schema(card: Card) -> pa.Schema:
    best = pa.struct([("label", pa.string()), ("probability", pa.float64())])
    if card.task == "multi-label":
        columns = [("labels", pa.list_(pa.string())), ("probabilities", pa.list_(pa.float64()))]
    else:
        columns = [("label", pa.string()), ("probability", pa.float64())]
        columns += [("rejected", pa.bool_())] if card.threshold is not None else []
    errors = [("error", pa.string()), ("accepted", pa.string())]
    return pa.schema([("file", pa.string()), *columns, ("top", pa.list_(best)), *errors])
