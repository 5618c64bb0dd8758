"""The benchmark of `--target`: what it trains, and the table that docs/adapting.md has of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from benchmarks import aligning
from benchmarks.material import read_rows


def row(method: str, seed: int, accuracy: float, camera: str = "noise") -> dict[str, Any]:
    return {
        "set": "food3",
        "camera": camera,
        "seed": seed,
        "method": method,
        "clean": 90.0,
        "accuracy": accuracy,
    }


def test_the_page_has_the_table_of_the_stored_rows() -> None:
    page = aligning.PAGE.read_text(encoding="utf-8")
    assert page.count(aligning.BEGIN) == page.count(aligning.END) == 1
    assert aligning.written(read_rows(aligning.STORE), page) == page


def test_an_alignment_stands_beside_the_trainings_of_its_own_seeds() -> None:
    rows = [row("source", seed, 60.0 + seed) for seed in (0, 1, 2)]
    rows += [row("mmd", 1, 71.0), row("mmd", 2, 61.0), row("source", 0, 89.0, "warm")]
    assert aligning.table_of(rows).splitlines() == [
        "| set | camera | drop | no target | `mmd` |",
        "|---|---|--:|--:|--:|",
        "| food3 | noise | 29.0 | 61.0 | 66.0 (+4.5; 1 of 2) |",
    ]


def test_only_cameras_that_cost_enough_are_aligned_and_nothing_is_trained_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[int, str, str]] = []
    found = {"val": 90.0, "noise": 70.0, "warm": 85.0}

    def train(_: object, name: str, seed: int, method: str, target: Path) -> Path:
        trained.append((seed, method, target.name))
        (tmp_path / "run").mkdir()
        return tmp_path / "run"

    cameras = [(name, tmp_path / name) for name in ("noise", "warm")]
    monkeypatch.setattr(aligning, "targets", lambda *_: cameras)
    monkeypatch.setattr(aligning, "train", train)
    monkeypatch.setattr(aligning, "accuracy", lambda _, folder: found[folder.name])
    options = argparse.Namespace(
        data=tmp_path,
        cache=tmp_path,
        cameras=None,
        seeds=[0, 1],
        methods=["mmd"],
        epochs=1,
        views=1,
    )
    store = aligning.Store(tmp_path / "rows.jsonl")
    aligning.measure(options, store, "food3")
    assert trained == [
        (0, "source", "noise"),
        (1, "source", "noise"),
        (0, "mmd", "noise"),
        (1, "mmd", "noise"),
    ]
    assert len(read_rows(store.file)) == 6
    aligning.measure(options, aligning.Store(store.file), "food3")
    assert len(trained) == 4
