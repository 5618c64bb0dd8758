"""What makes training the whole network faster, and what each way costs in accuracy.

    python -m benchmarks.full_training food3 --seeds 0    what has no row in its .jsonl yet
    python -m benchmarks.full_training food3 --ways "start size 160" --seeds 0 1 2
    python -m benchmarks.full_training --write            the table in docs/benchmarks.md

Each way is configs/photos-full.toml with something changed, from the weights of the shared folder.
Trainings of the same set and seed that are run by one command take turns with `full` as it is: its
time is measured before them, and the ratios in the table are to it. A row is written for each
training, so the work can be stopped at any time. Run nothing beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import (
    ROOT,
    SEEDS,
    SETS,
    SHARED,
    WEIGHTS,
    append_row,
    read_rows,
    with_made_part,
)
from toolchain.evaluation.evaluate import evaluate
from toolchain.machine import this_machine
from toolchain.metrics.evidence import SIGNIFICANT
from toolchain.metrics.mcnemar import mcnemar_p
from toolchain.progress import SilentReporter
from toolchain.runs.settings_file import read_settings
from toolchain.training.finetune import finetune

STORE = Path(__file__).with_name("full_training.jsonl")
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN = "<!-- Made by `python -m benchmarks.full_training --write`. -->\n"
END = "<!-- End of what it makes. -->\n"
RECIPE = ROOT / "configs" / "photos-full.toml"
FULL = "full"
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    FULL: ({}, "all layers, images of 224 pixels"),
    "channels last": ({"channels_last": True}, "`--channels-last`"),
    "start size 160": ({"start_size": 160}, "`--start-size 160`: half of the epochs"),
    "start size 128": (
        {"start_size": 128, "start_size_epochs": 7},
        "`--start-size 128 --start-size-epochs 7`",
    ),
    "160, channels last": (
        {"start_size": 160, "start_size_epochs": 7, "channels_last": True},
        "`--start-size 160 --start-size-epochs 7 --channels-last`",
    ),
    "frozen stem": (
        {"strategy": "partial", "freeze_until": "layer1"},
        "`--strategy partial --freeze-until layer1`: five views of the stem's outputs are kept",
    ),
    "frozen to layer2": (
        {"strategy": "partial", "freeze_until": "layer2"},
        "`--strategy partial --freeze-until layer2`",
    ),
    "compile": ({"compile": True}, "`--compile`"),
}
"""Way → (what is changed in the recipe, how it is written in the table)."""

Row = dict[str, Any]
"""`data`, `way`, `seed`, `run` (the same for trainings that took turns), `machine`; `seconds`, and
`right`, a letter for each validation image: 1 where the model's label is right, else 0."""


def run(name: str, seed: int, ways: Sequence[str]) -> None:
    """Train a set with each way that has no row yet, `full` before them, and append the rows."""
    rows = read_rows(STORE)
    done = {row["way"] for row in rows if (row["data"], row["seed"]) == (name, seed)}
    missing = [way for way in WAYS if way in ways and way != FULL and way not in done]
    if not missing and FULL in done:
        return
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for way in (FULL, *missing):
        row = {"data": name, "way": way, "seed": seed, "run": began}
        append_row(row | _trained(name, seed, WAYS[way][0]) | {"machine": _machine()}, STORE)


def _trained(name: str, seed: int, changed: dict[str, Any]) -> Row:
    """Train once, with an empty cache, and return the figures."""
    given = {"data": str(SHARED / "data" / name), "weights": str(WEIGHTS), "seed": seed}
    folder = Path(tempfile.mkdtemp(prefix="rtl-full-"))
    os.environ["RTL_CACHE_DIR"] = str(folder / "cache")
    started = time.perf_counter()
    try:
        result = finetune(
            read_settings(RECIPE, given | changed), folder / "run", progress=SilentReporter()
        )
        seconds = time.perf_counter() - started
        judged = evaluate(result.run.path, split="val")
    finally:
        shutil.rmtree(folder)
    right = "".join(str(int(image.label == image.predicted)) for image in judged.results)
    return {"seconds": round(seconds, 1), "right": right}


def _machine() -> str:
    machine = this_machine()
    return f"{machine}, torch {machine.versions['torch']}"


def table(rows: Sequence[Row]) -> str:
    """Return the table: a line a way and set, with accuracy and time beside `full`."""
    lines = [
        "| set | way | seeds | accuracy | `full`, same seeds | times as fast |",
        "|---|---|---|---|---|---|",
    ]
    for name in SETS:
        for way, (_, text) in WAYS.items():
            its = [row for row in rows if (row["data"], row["way"]) == (name, way)]
            if way != FULL and its:
                lines.append(_line(name, text, its, [r for r in rows if r["data"] == name]))
    machines = "; ".join(dict.fromkeys(row["machine"] for row in rows))
    return "\n".join([f"Measured on {machines}.", "", *lines, ""])


def _line(name: str, text: str, its: list[Row], rows: Sequence[Row]) -> str:
    full = {row["run"]: row for row in rows if row["way"] == FULL}
    ratio = statistics.median(full[row["run"]]["seconds"] / row["seconds"] for row in its)
    own, plain = _right(its), _right([full[row["run"]] for row in its])
    p = mcnemar_p(int((own & ~plain).sum()), int((plain & ~own).sum()))
    judged = "can't tell" if p > SIGNIFICANT else f"p = {p:.3f}"
    cells = [
        name,
        text,
        str(len({row["seed"] for row in its})),
        f"{own.mean():.1%} ({judged})",
        f"{plain.mean():.1%}",
        f"{ratio:.2f} ×",
    ]
    return f"| {' | '.join(cells)} |".replace("%", " %")


def _right(rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Return which images are right, of all rows one after the other."""
    return np.array([letter == "1" for row in rows for letter in row["right"]])


def write() -> None:
    """Write the table into docs/benchmarks.md."""
    page = PAGE.read_text(encoding="utf-8")
    made = with_made_part(page, BEGIN, END, table(read_rows(STORE)))
    PAGE.write_text(made, encoding="utf-8")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=[], metavar="SET")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for name in arguments.data:
            run(name, seed, arguments.ways)
    if arguments.write:
        write()


if __name__ == "__main__":
    main()
