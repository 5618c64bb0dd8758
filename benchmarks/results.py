"""Accuracy and time of each strategy on real photographs, over seeds: makes docs/results.md.

    python -m benchmarks.results run                every run that is not in results.jsonl yet
    python -m benchmarks.results run photos-head "photos-partial, two-stage"    those of recipes
    python -m benchmarks.results run --data food3 --seeds 0    those of some sets and seeds
    python -m benchmarks.results run --untimed      beside other work: the times don't count
    python -m benchmarks.results run --plain        the plain loop with the same settings
    python -m benchmarks.results write              docs/results.md from what was measured
    python -m benchmarks.results all                what is missing of all of this, and the page
    python -m benchmarks.results all --data food3 --seeds 0    of some sets and seeds only

Each run is appended to results.jsonl or choosing.jsonl when it ends, so the work can be stopped and
resumed. RTL_SHARED is the folder with photographs and weights.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import choosing
from benchmarks.material import ROOT, SEEDS, SETS, SHARED, WEIGHTS, append_row, read_rows
from benchmarks.plain_loop import plain_loop
from toolchain.machine import this_machine
from toolchain.metrics.intervals import wilson_interval
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import read_settings
from toolchain.select.try_strategies import DELTA_RATES
from toolchain.training.finetune import finetune

STORE = Path(__file__).with_name("results.jsonl")
PAGE = ROOT / "docs" / "results.md"
FIRST_MACHINE = (
    "Intel(R) Xeon(R) Processor, 2 cores, 25 GB, Linux x86_64, Python 3.11.7, "
    "torch 2.13.0+cpu, onnxruntime 1.31.1"
)
"""Of the rows that do not name theirs."""
MARK = "†"

RECIPES = {
    "photos-head": SETS,
    "photos-partial": ("food3", "hymenoptera", "food10_64px"),
    "surfaces-partial": ("steel6",),
    "photos-full": SETS,
    "photos-scratch": ("food3", "food10_64px"),
}
"""Recipe, which is configs/RECIPE.toml → data sets."""
FROM_SCRATCH = "photos-scratch"
COMPARED = RECIPES.keys() - {FROM_SCRATCH}
"""Recipes that are run with the plain loop too."""
STAGED = {
    "two-stage": {"strategy": "two-stage", "head_epochs": 3},
    "progressive": {"strategy": "progressive", "unfreeze_layers": 4, "unfreeze_every": 3},
    "bn": {"strategy": "bn", **DELTA_RATES},
    "lora": {"strategy": "lora", **DELTA_RATES},
}
"""Strategies that replace `partial` in its recipes."""


def cases() -> list[tuple[str, str, dict[str, Any]]]:
    """Return (data set, recipe, settings that are added to the recipe's) of each case."""
    weights = {"weights": str(WEIGHTS)}
    found: list[tuple[str, str, dict[str, Any]]] = []
    for recipe, names in RECIPES.items():
        for name in names:
            found.append((name, recipe, {} if recipe == FROM_SCRATCH else weights))
            if recipe.endswith("-partial"):
                found += [
                    (name, f"{recipe}, {staged}", weights | given)
                    for staged, given in STAGED.items()
                ]
    return found


def config_of(recipe: str) -> Path:
    """Return the path of a recipe's settings file."""
    return ROOT / "configs" / f"{recipe.split(',')[0]}.toml"


def run(
    recipes: Sequence[str],
    plain: bool,
    *,
    sets: Sequence[str] = SETS,
    seeds: Sequence[int] = SEEDS,
    timed: bool = True,
) -> None:
    """Run the cases of some recipes, by default of all, that are not in results.jsonl yet.

    Where not `timed`, the machine does other work too and the times are not shown.
    """
    done = {(row["data"], row["recipe"], row["seed"], row["by"]) for row in read_rows(STORE)}
    by = "plain loop" if plain else "rtl"
    for seed in seeds:
        for name, recipe, given in cases():
            if (name, recipe, seed, by) in done or (plain and recipe not in COMPARED):
                continue
            if name not in sets or (recipes and recipe not in recipes):
                continue
            given = {**given, "data": str(SHARED / "data" / name), "seed": seed}
            row = {"data": name, "recipe": recipe, "seed": seed, "by": by}
            settings = read_settings(config_of(recipe), given)
            row |= _plain(settings) if plain else _finetune(settings)
            row |= {"machine": _machine()} | ({} if timed else {"timed": False})
            append_row(row, STORE)


def _finetune(settings: FinetuneSettings) -> dict[str, Any]:
    """Run `finetune` and return the figures of the run."""
    folder = Path(tempfile.mkdtemp(prefix="rtl-results-"))
    # A cache of its own: the time includes computing the features, as in a first run.
    os.environ["RTL_CACHE_DIR"] = str(folder / "cache")
    started = time.perf_counter()
    result = finetune(settings, folder / "run")
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    summary = result.summary
    return {
        "accuracy": summary.val_accuracy,
        "images": len(result.dataset.val),
        "macro_f1": summary.val_macro_f1,
        "auc": summary.val_auc,
        "epochs": summary.epochs,
        "seconds": round(seconds, 1),
    }


def _plain(settings: FinetuneSettings) -> dict[str, Any]:
    """Run the plain loop and return its figures."""
    result = plain_loop(settings)
    return {
        "accuracy": result.val_accuracy,
        "epochs": settings.epochs,
        "seconds": round(result.seconds, 1),
    }


def page(store: Path = STORE, chosen: Path = choosing.STORE) -> str:
    """Return docs/results.md, from what was measured."""
    cells: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(store):
        cells[row["data"], row["recipe"], row["by"]].append(row)
    others = dict.fromkeys(
        row["machine"] for rows in cells.values() for row in _timed(rows) if _is_marked(row)
    )
    marked = "".join(f"; times marked {MARK} on: {machine}" for machine in others)
    lines = [HEAD.format(machine=f"{FIRST_MACHINE}{marked}")]
    best: dict[str, choosing.Best] = {}
    for (data, recipe, by), rows in sorted(cells.items()):
        if by == "rtl":
            lines.append(_line(data, recipe, rows, cells.get((data, recipe, "plain loop"), [])))
            accuracy = statistics.mean(row["accuracy"] for row in rows)
            if len(rows) == len(SEEDS) and accuracy > best.get(data, ("", 0.0))[1]:
                best[data] = (recipe, accuracy)
    return "".join([*lines, choosing.section(best, chosen)])


def write() -> None:
    """Write docs/results.md."""
    PAGE.write_text(page(), encoding="utf-8")


HEAD = """<!-- Made by benchmarks/results.py from benchmarks/results.jsonl. -->

# Results

What `rtl finetune` reaches on four sets of photographs, with ResNet-18: validation accuracy of the
best epoch, mean of the seeds 0, 1 and 2, and its range. The 95 % interval is Wilson's, of the mean
over as many images as the validation split has; the sets are small, so it is wide. The time is that
of the whole run with seed 0, the features of frozen layers included; none where the machine did
other work meanwhile. "Plain loop" is the tutorials' way with the same settings
([benchmarks/plain_loop.py](../benchmarks/plain_loop.py)), mean of its seeds.

A recipe is `configs/RECIPE.toml`, with `--weights FILE` but for scratch; "two-stage" is it with
`--strategy two-stage --head-epochs 3`, "progressive" is it with `--strategy progressive
--unfreeze-layers 4 --unfreeze-every 3`, "bn" and "lora" are it with that strategy and
`--lr-head 1e-2 --lr-backbone 3e-3`. food3 has 150 images for training and 120 for validation,
hymenoptera 244 and 153, steel6 240 and 240, food10_64px 450 and 400 of 64 pixels. The weights are
all of torchvision's ImageNet ResNet-18 but the last block, which begins as the identity; with the
whole of them expect more.

Measured on: {machine}.

| data | recipe | accuracy | 95 % interval | seeds | time | plain loop |
|---|---|---|---|---|---|---|
"""


def _line(data: str, recipe: str, rows: list[dict[str, Any]], plain: list[dict[str, Any]]) -> str:
    """Return one recipe on one data set as a line of the table."""
    accuracies = [row["accuracy"] for row in rows]
    mean, images = statistics.mean(accuracies), rows[0]["images"]
    low, high = wilson_interval(round(mean * images), images)
    seeds = f"{min(accuracies):.1%}–{max(accuracies):.1%}" if len(rows) > 1 else "one"
    if 1 < len(rows) < len(SEEDS):
        seeds += f" ({len(rows)} of {len(SEEDS)})"
    cells = [data, recipe, f"{mean:.1%}", f"{low:.1%}–{high:.1%}", seeds, _seconds(rows)]
    if plain:
        few = "" if len(plain) == len(SEEDS) else f" ({len(plain)} of {len(SEEDS)} seeds)"
        cells.append(f"{statistics.mean(row['accuracy'] for row in plain):.1%}{few}")
    else:
        cells.append("–")
    return f"| {' | '.join(cells)} |\n".replace("%", " %")


def _seconds(rows: list[dict[str, Any]]) -> str:
    """Return the time of the first seed."""
    times = [f"{r['seconds']:.0f} s{f' {MARK}' if _is_marked(r) else ''}" for r in _timed(rows)]
    return times[0] if times else "–"


def _timed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows whose time counts; others ran while the machine did other work."""
    return [row for row in rows if row["seed"] == SEEDS[0] and row.get("timed", True)]


def _is_marked(row: dict[str, Any]) -> bool:
    """Return whether a row is of another machine, beside which its time can't be put."""
    return bool(row.get("machine", FIRST_MACHINE) != FIRST_MACHINE)


def _machine() -> str:
    machine = this_machine()
    named = ", ".join(f"{name} {machine.versions[name]}" for name in ("torch", "onnxruntime"))
    return f"{machine}, {named}"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("recipes", nargs="*", metavar="RECIPE")
    running.add_argument("--plain", action="store_true")
    running.add_argument("--untimed", action="store_true")
    commands.add_parser("write")
    for command in (running, commands.add_parser("all")):
        command.add_argument("--data", nargs="+", default=SETS, choices=SETS)
        command.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(
            arguments.recipes,
            arguments.plain,
            sets=arguments.data,
            seeds=arguments.seeds,
            timed=not arguments.untimed,
        )
        return
    if arguments.command == "all":
        # The choices first: their time is what they are measured for.
        choosing.measure(arguments.data, arguments.seeds)
        run((), False, sets=arguments.data, seeds=arguments.seeds)
    write()


if __name__ == "__main__":
    main()
