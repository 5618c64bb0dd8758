"""The benchmark of training the whole network: what it trains, and the table on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import full_training
from benchmarks.material import read_rows, with_made_part


def row(way: str, seed: int, seconds: float, right: str, run: str = "first") -> dict[str, Any]:
    names = {"data": "food3", "way": way, "seed": seed, "run": f"{run}-{seed}"}
    return {**names, "seconds": seconds, "right": right, "machine": "a machine"}


def test_the_page_has_the_table_of_the_stored_rows() -> None:
    page = full_training.PAGE.read_text(encoding="utf-8")
    table = full_training.table(read_rows(full_training.STORE))
    assert page.count(full_training.BEGIN) == page.count(full_training.END) == 1
    assert with_made_part(page, full_training.BEGIN, full_training.END, table) == page


def test_a_way_stands_beside_the_full_training_of_its_own_seeds_and_runs() -> None:
    rows = [
        row("full", 0, 100.0, "1111100000"),
        row("start size 160", 0, 50.0, "1111110000"),
        row("full", 1, 90.0, "1110000000"),
        row("start size 160", 1, 60.0, "1110000000"),
        row("full", 1, 500.0, "0000000000", run="another"),
    ]
    line = full_training.table(rows).splitlines()[-1]
    assert line.startswith("| food3 | `--start-size 160`")
    assert line.endswith("| 2 | 45.0 % (can't tell) | 40.0 % | 1.75 × |")


def test_a_loss_that_is_no_luck_is_said_to_be_one() -> None:
    rows = [row("full", 0, 100.0, "1" * 20), row("compile", 0, 100.0, "1" * 10 + "0" * 10)]
    assert "50.0 % (p = 0.002)" in full_training.table(rows)


def test_nothing_is_trained_twice_and_full_stands_beside_what_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "rows.jsonl"
    store.write_text(json.dumps(row("full", 0, 9.0, "1")) + "\n")
    figures = {"seconds": 1.0, "right": "1"}
    monkeypatch.setattr(full_training, "STORE", store)
    monkeypatch.setattr(full_training, "_trained", lambda *_: figures)
    for _ in range(2):
        full_training.run("food3", 0, ["full", "compile"])
    full_training.run("food3", 0, ["full"])
    assert [made["way"] for made in read_rows(store)] == ["full", "full", "compile"]
    assert len({made["run"] for made in read_rows(store)[1:]}) == 1
