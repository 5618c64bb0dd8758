"""What `--strategy auto` and `--budget` reach and take, as whole commands, beside fixed recipes.

`python -m benchmarks.results all` runs it with everything else that docs/results.md shows. Each run
is a process of its own with an empty cache, timed from its start to its end, and is appended to
choosing.jsonl when it ends. `photos-head` is timed in the same way, for comparison.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.material import ROOT, SETS, SHARED, WEIGHTS, append_row, read_rows
from toolchain.machine import this_machine

STORE = Path(__file__).with_name("choosing.jsonl")
PEERS = Path(__file__).parent / "peers" / "results.jsonl"
BUDGET_S = 120.0
HEAD = "photos-head"
BUDGET = "budget 2m"
WAYS: dict[str, tuple[str, ...]] = {
    HEAD: ("--config", str(ROOT / "configs" / f"{HEAD}.toml")),
    "auto": ("--strategy", "auto"),
    BUDGET: ("--budget", "2m"),
}
FASTAI = ("fastai, `fine_tune`, measured by hand on two quieter cores", 0.922, 91.0)
"""Name, accuracy and seconds on hymenoptera with the same weights."""

Row = dict[str, Any]
Best = tuple[str, float]
"""Recipe and its mean accuracy."""


def measure(sets: Sequence[str], seeds: Sequence[int], store: Path = STORE) -> None:
    """Run what is not in the file yet, all sets with one seed before the next."""
    done = {(row["data"], row["by"], row["seed"]) for row in read_rows(store)}
    for seed in seeds:
        for data in sets:
            for by in WAYS:
                if (data, by, seed) not in done:
                    append_row(
                        {"data": data, "by": by, "seed": seed, **_run(data, by, seed)}, store
                    )


def _run(data: str, by: str, seed: int) -> Row:
    words = [sys.executable, "-m", "toolchain", "finetune", str(SHARED / "data" / data)]
    words += ["--weights", str(WEIGHTS), "--seed", str(seed), *WAYS[by], "--json", "--quiet"]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="rtl-choosing-") as folder:
        # A cache of its own: the time includes computing the features, as in a first run.
        environment = {**os.environ, "RTL_CACHE_DIR": f"{folder}/cache", "PYTHONPATH": str(ROOT)}
        started = time.perf_counter()
        done = subprocess.run(
            [*words, "-o", f"{folder}/run"], env=environment, stdout=subprocess.PIPE, check=True
        )
        seconds = time.perf_counter() - started
    printed = json.loads(done.stdout)
    selection = printed["selection"] or {}
    return {
        "accuracy": printed["val_accuracy"],
        "images": printed["val_images"],
        "seconds": round(seconds, 1),
        "chosen": selection.get("chosen"),
        "reason": selection.get("reason"),
        "load": round(load, 1),
        "machine": str(this_machine()),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def section(best: Mapping[str, Best], store: Path = STORE, peers: Path = PEERS) -> str:
    """Return the part of docs/results.md about automatic choices; empty where none was measured.

    `best` has the best fixed recipe of each set.
    """
    cells: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in read_rows(store):
        cells[row["data"], row["by"]].append(row)
    if not cells:
        return ""
    lines = [INTRODUCTION, "| data | best recipe |", *(f" {by} |" for by in WAYS)]
    lines += [f" {BUDGET} beside the best |\n", "|---" * (len(WAYS) + 3), "|\n"]
    lines += [
        _line(data, best.get(data), cells) for data in SETS if any(cells[data, w] for w in WAYS)
    ]
    longest = max((row["seconds"] for row in cells_of(cells, BUDGET)), default=0.0)
    machines = dict.fromkeys(row["machine"] for rows in cells.values() for row in rows)
    lines.append(
        f"\nThe longest run with `--budget 2m` took {longest:.1f} s "
        f"({_signed(longest / BUDGET_S - 1)} % beside the budget). "
        f"Measured on: {'; '.join(machines)}.\n"
    )
    lines.append(_beside_fastai(cells, peers))
    return "".join(lines)


INTRODUCTION = """
## Chosen by rtl

What [`--strategy auto` and `--budget 2m`](choosing.md) reach with nothing else given: mean
validation accuracy of the seeds and mean time of the whole command, from its start to its end, with
an empty cache. "Best recipe" is the best row of the table above, or `photos-head` as it is timed
here as a whole command, which nobody knows beforehand. Means of fewer than three seeds say of how
many.

"""


def cells_of(cells: Mapping[tuple[str, str], list[Row]], by: str) -> list[Row]:
    """Return the rows of one way of all sets."""
    return [row for (_, name), rows in cells.items() if name == by for row in rows]


def _line(data: str, best: Best | None, cells: Mapping[tuple[str, str], list[Row]]) -> str:
    if (heads := cells.get((data, HEAD), [])) and (best is None or _accuracy(heads) > best[1]):
        best = HEAD, _accuracy(heads)  # of the runs that are timed here
    texts = [data, f"{best[0]} {_percent(best[1])}" if best else "–"]
    texts += [_cell(cells.get((data, by), [])) for by in WAYS]
    rows = cells.get((data, BUDGET), [])
    texts.append(f"{_signed(_accuracy(rows) - best[1])} points" if best and rows else "–")
    return f"| {' | '.join(texts)} |\n"


def _cell(rows: Sequence[Row]) -> str:
    if not rows:
        return "–"
    few = "" if len(rows) == 3 else f" (seeds: {len(rows)})"
    seconds = statistics.mean(row["seconds"] for row in rows)
    return f"{_percent(_accuracy(rows))}, {seconds:.0f} s{few}"


def _beside_fastai(cells: Mapping[tuple[str, str], list[Row]], peers: Path) -> str:
    """Return what a second of training is worth on hymenoptera, beside fastai's `fine_tune`."""
    found: list[tuple[str, float, float]] = []
    for by in WAYS:
        if rows := cells.get(("hymenoptera", by), []):
            seconds = statistics.mean(row["seconds"] for row in rows)
            found.append((f"rtl, {by}", _accuracy(rows), seconds))
    if not found:
        return ""
    found.append(FASTAI)
    trained = [r for r in read_rows(peers) if r["subject"] == "train" and "accuracy" in r]
    fastai = [row for row in trained if "fastai" in row["who"]]
    for who, epochs in dict.fromkeys((row["who"], row["epochs"]) for row in fastai):
        rows = [row for row in fastai if (row["who"], row["epochs"]) == (who, epochs)]
        seconds = statistics.median(row["seconds"] for row in rows)
        found.append((f"{who}, {epochs} epochs (benchmarks/peers)", _accuracy(rows), seconds))
    lines = [
        "\nBeside fastai on hymenoptera, with the same photographs and weights:\n\n"
        "| trainer | accuracy | time | accuracy per second |\n|---|---|---|---|\n"
    ]
    for name, accuracy, seconds in found:
        points = f"{100 * accuracy / seconds:.2f} points"
        lines.append(f"| {name} | {_percent(accuracy)} | {seconds:.0f} s | {points} |\n")
    return "".join(lines)


def _accuracy(rows: Sequence[Row]) -> float:
    return float(statistics.mean(row["accuracy"] for row in rows))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _signed(share: float) -> str:
    """Return a share in hundredths with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")
