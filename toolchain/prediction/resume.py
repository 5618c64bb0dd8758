"""`--resume`: which images a file of predictions has already, and whether this model made it.

No second file records the progress. The rows themselves show which images are done, and some of
them are predicted again and compared before anything is added. `made_by` notes the model.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from toolchain.errors import DataError, ImageError
from toolchain.prediction.rows import ParsedRow, RowFormat
from toolchain.runtime.predictor import Predictor

CHECKED_ROWS = 4
"""How many of the first and of the last predictions in the file are computed again."""
RESUME_TOLERANCE = 2e-3
"""Largest difference of a probability that is computed again. Other processors and numbers of
threads stay well under it; another model hardly ever does."""


class EarlierRows:
    """The rows that a file of predictions has before more are added."""

    def __init__(self, path: Path, row_format: RowFormat) -> None:
        self.path, self.format = path, row_format
        self.rows = 0
        self.failed = 0
        """Those among them with an error."""
        self._checked: list[ParsedRow] = []
        self._digests, self._left = np.empty(0, np.uint64), np.empty(0, np.int64)

    def read(self) -> int:
        """Read the file, cut off an incomplete last row and return the size of the rest in bytes.

        Raises DataError for a file that another model, other options or another program wrote.
        """
        # Eight bytes a name, so that a million finished files take eight megabytes.
        digests = array("Q")
        first: list[ParsedRow] = []
        last: deque[ParsedRow] = deque(maxlen=CHECKED_ROWS)
        end = 0
        with self.path.open("rb") as file:
            for text in complete_rows(file, quoted=self.format.quoted):
                row = self._parse(text, is_header=not end and bool(self.format.header))
                end += len(text)
                if row is None:
                    continue
                digests.append(_digest(row.name))
                self.rows += 1
                self.failed += row.error is not None
                if row.error is None:
                    (first if len(first) < CHECKED_ROWS else last).append(row)
            self._require_beginning(file, end)
        os.truncate(self.path, end)
        self._checked = [*chain(first, last)]
        self._digests, self._left = np.unique(np.array(digests, np.uint64), return_counts=True)
        return end

    def take(self, name: str) -> bool:
        """Return whether an image has a row that no earlier call took.

        A name that is given twice therefore gets two rows.
        """
        if not len(self._digests):
            return False
        # Earlier versions wrote `a.jpg` for a file that a list calls `./a.jpg`.
        return any(self._take(text) for text in dict.fromkeys((name, str(Path(name)))))

    def _take(self, name: str) -> bool:
        digest = np.uint64(_digest(self.format.written_name(name)))
        index = min(int(np.searchsorted(self._digests, digest)), len(self._digests) - 1)
        if self._digests[index] != digest or not self._left[index]:
            return False
        self._left[index] -= 1
        return True

    def require_made_by(self, predictor: Predictor, *, is_known: bool) -> None:
        """Raise DataError where this model predicts otherwise for images that have a row.

        Also where none of these images can be read any more, unless the model `is_known` to have
        made the file.
        """
        compared = 0
        for row in self._checked:
            try:
                prediction = predictor(Path(row.name))
            except ImageError:  # moved or removed meanwhile
                continue
            compared += 1
            now = dict(zip(prediction.classes, prediction.probabilities.tolist(), strict=True))
            if any(abs(now.get(label, 2.0) - p) > RESUME_TOLERANCE for label, p in row.top):
                label, before = row.top[0]
                raise DataError(
                    f"{self.path} was not made by this model: {row.name} is {label} with "
                    f"{before:.4f} there, and {now.get(label, 0.0):.4f} now",
                    hint="choose another --output",
                )
        if self._checked and not (compared or is_known):
            raise DataError(
                f"{self.path} may be of another model: none of its images that would be predicted "
                f"again can be read, first {self._checked[0].name}",
                hint="put the images back for this, or choose another --output",
            )

    def _parse(self, text: bytes, *, is_header: bool) -> ParsedRow | None:
        """Return a row; None for the header."""
        try:
            row = text.decode()
            if is_header and row != self.format.header:
                raise ValueError("another model or other options")
            return None if is_header else self.format.read(row)
        except ValueError as error:
            reason = str(error) if type(error) is ValueError else "not a row"
            raise DataError(
                f"{self.path}, row {self.rows + 1}: {reason}",
                hint="--resume takes the model, --top and format that the file was made with",
            ) from error

    def _require_beginning(self, file: IO[bytes], end: int) -> None:
        """Raise DataError for a file without a complete row that rtl did not begin."""
        expected = self.format.beginning.encode()
        file.seek(0)
        start = file.read(len(expected))
        if not end and not (start.startswith(expected) or expected.startswith(start)):
            raise DataError(f"{self.path} is not a file of predictions", hint="another --output")


def complete_rows(file: IO[bytes], *, quoted: bool) -> Iterator[bytes]:
    """Yield each complete row; if `quoted`, a line end inside double quotes does not end a row."""
    row = b""
    for line in file:
        row += line
        if row.endswith(b"\n") and not (quoted and row.count(b'"') % 2):
            yield row
            row = b""


def _digest(name: str) -> int:
    data = name.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
