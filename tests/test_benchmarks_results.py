"""docs/results.md as it is made from what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import choosing, results
from benchmarks.material import read_rows


def row(by: str, seed: int, accuracy: float, seconds: float) -> dict[str, Any]:
    return {
        "data": "hymenoptera",
        "by": by,
        "seed": seed,
        "accuracy": accuracy,
        "images": 153,
        "seconds": seconds,
        "machine": "a machine",
    }


def stored(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_a_choice_stands_beside_the_best_fixed_recipe(tmp_path: Path) -> None:
    rows = [row("budget 2m", seed, 0.94, 110 + 5 * seed) for seed in (0, 1, 2)]
    rows += [row("auto", 0, 0.93, 30), row("photos-head", 0, 0.93, 20)]
    page = results.page(chosen=stored(tmp_path / "choosing.jsonl", rows))
    recipe = "photos-partial 94.8 %"
    figures = "93.0 %, 20 s (seeds: 1) | 93.0 %, 30 s (seeds: 1) | 94.0 %, 115 s | −0.8 points"
    assert f"| hymenoptera | {recipe} | {figures} |" in page
    assert "took 120.0 s (+0.0 % beside the budget)" in page
    assert "| rtl, budget 2m | 94.0 % | 115 s | 0.82 points |" in page


def test_a_recipe_with_fewer_seeds_is_not_the_best(tmp_path: Path) -> None:
    lucky = row("rtl", 0, 0.999, 9) | {"recipe": "photos-lucky"}
    known = read_rows(results.STORE)
    chosen = stored(tmp_path / "choosing.jsonl", [row("auto", 0, 0.93, 30)])
    page = results.page(stored(tmp_path / "results.jsonl", [*known, lucky]), chosen)
    assert "| hymenoptera | photos-partial 94.8 %" in page


def test_a_time_of_another_machine_is_marked(tmp_path: Path) -> None:
    slow = row("rtl", 0, 0.9, 99) | {"recipe": "photos-slow"}
    busy = slow | {"seed": 1, "machine": "a machine that does other work"}
    store = stored(tmp_path / "results.jsonl", [slow, busy])
    page = results.page(store, tmp_path / "choosing.jsonl")
    assert (
        "| hymenoptera | photos-slow | 90.0 % | 84.5 %–94.0 % | 90.0 %–90.0 % (2 of 3) | 99 s † |"
        in page
    )
    assert f"Measured on: {results.FIRST_MACHINE}; times marked † on: a machine.\n" in page


def test_a_time_beside_other_work_is_not_shown(tmp_path: Path) -> None:
    busy = row("rtl", 0, 0.9, 99) | {"recipe": "photos-slow", "timed": False}
    store = stored(tmp_path / "results.jsonl", [busy])
    page = results.page(store, tmp_path / "choosing.jsonl")
    assert "| hymenoptera | photos-slow | 90.0 % | 84.5 %–94.0 % | one | – | – |" in page


def test_trainings_of_fastai_with_different_epochs_are_not_averaged(tmp_path: Path) -> None:
    peer = {"subject": "train", "who": "fastai head", "seed": 0}
    rows = [
        peer | {"epochs": 5, "accuracy": 0.85, "seconds": 100.0},
        peer | {"epochs": 20, "accuracy": 0.9, "seconds": 400.0},
    ]
    chosen = stored(tmp_path / "choosing.jsonl", [row("auto", 0, 0.93, 30)])
    part = choosing.section({}, chosen, stored(tmp_path / "peers.jsonl", rows))
    assert "| fastai head, 5 epochs (benchmarks/peers) | 85.0 % | 100 s |" in part
    assert "| fastai head, 20 epochs (benchmarks/peers) | 90.0 % | 400 s |" in part


def test_without_choices_the_page_has_no_part_about_them(tmp_path: Path) -> None:
    assert "Chosen by rtl" not in results.page(chosen=tmp_path / "choosing.jsonl")


def test_what_is_measured_already_is_not_measured_again(tmp_path: Path) -> None:
    rows = [row(by, 0, 0.9, 1) for by in choosing.WAYS]
    store = stored(tmp_path / "choosing.jsonl", rows)
    choosing.measure(["hymenoptera"], [0], store)
    assert len(store.read_text().splitlines()) == len(choosing.WAYS)
