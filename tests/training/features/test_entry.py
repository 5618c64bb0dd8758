"""An entry of the cache of features: writing and reading rows, and a damaged index."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from toolchain.progress import SilentReporter
from toolchain.training.features.store import SCHEMA, CacheKey, Entry, entries

KEY = CacheKey(
    data="/data",
    arch="resnet18",
    boundary="fc",
    weights_sha256="0" * 64,
    preprocessing={"size": 32},
    view="clean",
    shape=(4,),
    schema=SCHEMA,
)


def fill(entry: Entry, names: list[str]) -> None:
    """Write rows that hold the number in their name."""
    with entry.writing(names, SilentReporter()) as writer:
        for name in writer.missing:
            writer.put(np.full(4, int(name), dtype=np.float32))


def test_rows_out_of_date_are_removed_and_can_still_be_read_by_another_run() -> None:
    entry = Entry(KEY)
    fill(entry, [str(number) for number in range(10)])
    rows, numbers = entry.read(["3", "7"])
    fill(entry, ["7", "100", "101"])
    assert rows[numbers, 0].tolist() == [3.0, 7.0]
    new_rows, new_numbers = entry.read(["101", "7", "100"])
    assert new_rows[new_numbers, 0].tolist() == [101.0, 7.0, 100.0]
    assert len(new_rows) == 3
    (file,) = entry.folder.glob("rows-*")
    assert file.stat().st_size == 3 * 4 * 2
    assert entry.missing(["3", "7"]) == ["3"]


def test_few_rows_out_of_date_are_kept() -> None:
    entry = Entry(KEY)
    fill(entry, ["1", "2", "3"])
    fill(entry, ["2", "3", "4"])
    assert entry.missing(["1", "2", "3", "4"]) == []


def test_a_row_named_twice_is_written_once() -> None:
    entry = Entry(KEY)
    fill(entry, ["1", "2", "1"])
    rows, numbers = entry.read(["1", "2", "1"])
    assert rows[numbers, 0].tolist() == [1.0, 2.0, 1.0]
    assert len(rows) == 2


def test_rows_before_an_error_are_kept() -> None:
    entry = Entry(KEY)
    with (
        contextlib.suppress(KeyboardInterrupt),
        entry.writing(["1", "2", "3"], SilentReporter()) as writer,
    ):
        writer.put(np.ones(4, dtype=np.float32))
        raise KeyboardInterrupt
    assert entry.missing(["1", "2", "3"]) == ["2", "3"]


def test_an_entry_of_an_older_schema_is_listed(tmp_path: Path) -> None:
    entry = Entry(KEY)
    fill(entry, ["1"])
    record = entry.folder / "about.json"
    about = json.loads(record.read_text())
    del about["schema"]
    record.write_text(json.dumps({**about, "rtl": "0.1.0"}))
    (listed,) = entries()
    assert (listed.key.data, listed.key.schema, listed.rows) == ("/data", 1, 1)


@pytest.mark.parametrize(
    "text",
    ["", '{"file": "rows-1.f16", "rows": {"1', '{"rows": 1}', '{"key":' + "[" * 100_000],
    ids=["empty", "cut", "another", "nested"],
)
def test_rows_of_a_damaged_index_are_computed_again(text: str) -> None:
    entry = Entry(KEY)
    fill(entry, ["1", "2"])
    (entry.folder / "index.json").write_text(text)
    assert entry.missing(["1", "2"]) == ["1", "2"]
    fill(entry, ["2", "1"])
    rows, numbers = entry.read(["1", "2"])
    assert rows[numbers, 0].tolist() == [1.0, 2.0]
