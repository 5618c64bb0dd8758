"""The benchmark of faster trainings: what it trains, and the table on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import training_ways
from benchmarks.material import read_rows, with_made_part


def row(way: str, seed: int, seconds: float, right: str, run: str = "first") -> dict[str, Any]:
    names = {
        "recipe": "photos-full",
        "data": "food3",
        "way": way,
        "seed": seed,
        "run": f"{run}-{seed}",
    }
    return {**names, "seconds": seconds, "right": right, "machine": "a machine"}


def test_the_page_has_the_table_of_the_stored_rows() -> None:
    page = training_ways.PAGE.read_text(encoding="utf-8")
    table = training_ways.table(read_rows(training_ways.STORE))
    assert page.count(training_ways.BEGIN) == page.count(training_ways.END) == 1
    assert with_made_part(page, training_ways.BEGIN, training_ways.END, table) == page


def test_a_way_stands_beside_the_recipe_as_it_is_of_its_own_seeds_and_runs() -> None:
    rows = [
        row("as it is", 0, 100.0, "1111100000"),
        row("start size 160", 0, 50.0, "1111110000"),
        row("as it is", 1, 90.0, "1110000000"),
        row("start size 160", 1, 60.0, "1110000000"),
        row("as it is", 1, 500.0, "0000000000", run="another"),
    ]
    line = training_ways.table(rows).splitlines()[-1]
    assert line.startswith("| photos-full | food3 | `--start-size 160`")
    assert line.endswith("| 2 | 45.0 % (can't tell) | 40.0 % | 1.75 × |")


def test_a_loss_that_is_no_luck_is_said_to_be_one() -> None:
    rows = [row("as it is", 0, 100.0, "1" * 20), row("compile", 0, 100.0, "1" * 10 + "0" * 10)]
    assert "50.0 % (p = 0.002)" in training_ways.table(rows)


def test_nothing_is_trained_twice_and_the_recipe_as_it_is_stands_beside_what_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "rows.jsonl"
    store.write_text(json.dumps(row("as it is", 0, 9.0, "1")) + "\n")
    figures = {"seconds": 1.0, "right": "1"}
    monkeypatch.setattr(training_ways, "STORE", store)
    monkeypatch.setattr(training_ways, "_trained", lambda *_: figures)
    for _ in range(2):
        training_ways.run("photos-full", "food3", 0, ["as it is", "compile"])
    training_ways.run("photos-full", "food3", 0, ["as it is"])
    assert [made["way"] for made in read_rows(store)] == ["as it is", "as it is", "compile"]
    assert len({made["run"] for made in read_rows(store)[1:]}) == 1
