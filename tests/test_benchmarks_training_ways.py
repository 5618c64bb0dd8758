"""The benchmark of faster trainings: what it trains, and the table on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import nn

from benchmarks import training_ways
from benchmarks.material import read_rows, with_made_part
from benchmarks.plain_loop import PlainResult
from toolchain.runs.settings import FinetuneSettings


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
    assert line.endswith("| 2 | 45.0 % (can't tell) | 40.0 % | 1.75 × | – |")


def test_the_tutorials_loop_stands_beside_all_that_were_trained_in_its_run() -> None:
    rows = [
        row("as it is", 0, 90.0, "1111100000"),
        row("tutorials' loop", 0, 120.0, "1110000000"),
        row("start size 160", 0, 40.0, "1111110000"),
        row("as it is", 0, 500.0, "0000000000", run="another"),
        row("start size 160", 1, 10.0, "1111110000", run="another"),
        row("as it is", 1, 20.0, "1111110000", run="another"),
    ]
    kept, loop, smaller = training_ways.table(rows).splitlines()[-3:]
    assert kept.endswith("| as it is | 1 | 50.0 % | 50.0 % | 1.00 × | 1.33 × |")
    loop_cells = "| the tutorials' loop | 1 | 30.0 % (can't tell) | 50.0 % | 0.75 × | 1.00 × |"
    assert loop.endswith(loop_cells)
    assert smaller.endswith("| 2 | 60.0 % (can't tell) | 55.0 % | 2.12 × | 3.00 × |")


def test_the_tutorials_loop_is_judged_image_by_image_in_the_order_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train/ant/1", "train/bee/2", "val/ant/3", "val/bee/4", "val/bee/5"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    labels = {tmp_path / "val" / name: "bee" for name in ("bee/5.png", "ant/3.png", "bee/4.png")}
    trained = PlainResult(val_accuracy=1.0, seconds=2.04, model=nn.Identity())
    monkeypatch.setattr(training_ways, "plain_loop", lambda _: trained)
    monkeypatch.setattr(training_ways, "plain_labels", lambda *_: labels)
    settings = FinetuneSettings(data=str(tmp_path), weights="none")
    assert training_ways._looped(settings) == {"seconds": 2.0, "right": "011"}


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
    monkeypatch.setattr(training_ways, "_trained", lambda _: figures)
    for _ in range(2):
        training_ways.run("photos-full", "food3", 0, ["as it is", "compile"])
    training_ways.run("photos-full", "food3", 0, ["as it is"])
    assert [made["way"] for made in read_rows(store)] == ["as it is", "as it is", "compile"]
    assert len({made["run"] for made in read_rows(store)[1:]}) == 1
