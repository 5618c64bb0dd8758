"""What caching the frozen layers saves: `finetune` beside the plain loop, as ratios in one run.

ResNet-18 from random weights (the time does not depend on them), 500 drawn photographs of machined
parts (300 train, 200 val: about the proportion of hymenoptera), 20 epochs, batches of 32, two
workers and the same augmentation on both sides. RTL_BENCH_EPOCHS shortens the plain loop; its time
is then scaled to 20 epochs, and the printed line says so.

    pytest benchmarks/test_finetune.py -s --benchmark-only
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.plain_loop import plain_loop
from toolchain.demo.parts import CLASSES, draw_part
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import resolve
from toolchain.training.finetune import finetune

EPOCHS = 20
PLAIN_EPOCHS = int(os.environ.get("RTL_BENCH_EPOCHS", str(EPOCHS)))
TRAIN, VAL = 300, 200

CASES: dict[str, tuple[dict[str, Any], float]] = {
    "head, clean view": ({"strategy": "head", "augment": "none"}, 40.0),
    "head, five augmented views": ({"strategy": "head", "augment": "s3", "views": 5}, 10.0),
    "partial from layer4, clean view": ({"strategy": "partial", "augment": "none"}, 4.0),
    "full, precision auto": ({"strategy": "full", "augment": "s3", "precision": "auto"}, 2.0),
}
"""Case → its settings, and the bar: how many times as fast as the plain loop."""
KNOWN_MISSES = {"head, clean view": 29.9, "full, precision auto": 1.4}
"""Bars that README.md states as missed → the ratio that it states."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    for split, count, first in (("train", TRAIN, 1), ("val", VAL, TRAIN + 1)):
        for number in range(count):
            label = CLASSES[number % len(CLASSES)]
            path = folder / split / label / f"{number:04}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_part(label, first + number).save(path, quality=90)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_finetune_beside_the_plain_loop(
    benchmark: BenchmarkFixture,
    parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    # A cache of its own: each case computes its features.
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path / "cache"))
    given, bar = CASES[name]
    fixed = {
        "data": str(parts),
        "weights": "none",
        "epochs": EPOCHS,
        "batch_size": 32,
        "workers": 2,
    }
    # Not judged: heads on random layers, which are refused, take as long as any.
    settings = resolve(FinetuneSettings(**{**fixed, **given}))
    plain = resolve(FinetuneSettings(**{**fixed, **given, "epochs": PLAIN_EPOCHS}))
    plain_s = plain_loop(plain).seconds * EPOCHS / PLAIN_EPOCHS

    def rtl() -> float:
        started = time.perf_counter()
        finetune(settings, tmp_path / "run")
        return time.perf_counter() - started

    rtl_s = benchmark.pedantic(rtl, rounds=1)
    ratio = plain_s / rtl_s
    benchmark.extra_info["ratio"] = ratio
    scaled = f", scaled from {PLAIN_EPOCHS} epochs" if PLAIN_EPOCHS != EPOCHS else ""
    print(
        f"\n{name}: plain {plain_s:.1f} s{scaled}, rtl {rtl_s:.1f} s: {ratio:.1f} × (bar {bar:g})"
    )
    if ratio < bar and name in KNOWN_MISSES:
        stated = KNOWN_MISSES[name]
        pytest.xfail(f"{ratio:.1f} × of {bar:g}; benchmarks/README.md states {stated:g} as missed")
    assert ratio >= bar
