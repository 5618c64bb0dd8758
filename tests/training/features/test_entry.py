"""An entry of the features' cache by itself: rows in and out, and what a damaged index costs."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from toolchain.progress import SilentReporter
from toolchain.training.features.store import CacheKey, Entry

ABOUT = CacheKey(
    data="/data",
    arch="resnet18",
    boundary="fc",
    weights_sha256="0" * 64,
    preprocessing={"size": 32},
    rtl="0",
    view="clean",
    shape=(4,),
)


def fill(entry: Entry, names: list[str]) -> None:
    """Fill in rows that hold the number in their name."""
    with entry.writing(names, SilentReporter()) as writer:
        for name in writer.missing:
            writer.put(np.full(4, int(name), dtype=np.float32))


def test_when_most_rows_are_out_of_date_they_go_and_who_reads_them_goes_on() -> None:
    entry = Entry(ABOUT)
    fill(entry, [str(number) for number in range(10)])
    rows, places = entry.read(["3", "7"])
    fill(entry, ["7", "100", "101"])
    assert rows[places, 0].tolist() == [3.0, 7.0]
    new_rows, new_places = entry.read(["101", "7", "100"])
    assert new_rows[new_places, 0].tolist() == [101.0, 7.0, 100.0]
    assert len(new_rows) == 3
    (file,) = entry.folder.glob("rows-*")
    assert file.stat().st_size == 3 * 4 * 2
    assert entry.missing(["3", "7"]) == ["3"]


def test_few_rows_out_of_date_stay_where_they_are() -> None:
    entry = Entry(ABOUT)
    fill(entry, ["1", "2", "3"])
    fill(entry, ["2", "3", "4"])
    assert entry.missing(["1", "2", "3", "4"]) == []


def test_a_row_asked_for_twice_is_kept_once() -> None:
    entry = Entry(ABOUT)
    fill(entry, ["1", "2", "1"])
    rows, places = entry.read(["1", "2", "1"])
    assert rows[places, 0].tolist() == [1.0, 2.0, 1.0]
    assert len(rows) == 2


def test_rows_before_an_error_are_kept() -> None:
    entry = Entry(ABOUT)
    with (
        contextlib.suppress(KeyboardInterrupt),
        entry.writing(["1", "2", "3"], SilentReporter()) as writer,
    ):
        writer.put(np.ones(4, dtype=np.float32))
        raise KeyboardInterrupt
    assert entry.missing(["1", "2", "3"]) == ["2", "3"]


@pytest.mark.parametrize("text", ["", '{"file": "rows-1.f16", "rows": {"1'])
def test_an_index_that_was_cut_off_costs_the_rows_only(text: str) -> None:
    entry = Entry(ABOUT)
    fill(entry, ["1", "2"])
    (entry.folder / "index.json").write_text(text)
    assert entry.missing(["1", "2"]) == ["1", "2"]
    fill(entry, ["2", "1"])
    rows, places = entry.read(["1", "2"])
    assert rows[places, 0].tolist() == [1.0, 2.0]
