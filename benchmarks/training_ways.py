"""What makes a training faster, and what each way costs in accuracy.

    python -m benchmarks.training_ways photos-full food3       what has no row in the .jsonl yet
    python -m benchmarks.training_ways photos-full food3 --ways "start size 160" --seeds 0 1 2
    python -m benchmarks.training_ways --write                 the table in docs/benchmarks.md

Each way is a recipe of configs/ with something changed, from the weights of the shared folder, or
the tutorials' loop (plain_loop.py) with the recipe's settings. Trainings of the same set and seed
that one command runs follow each other, the recipe as it is first: the ratios in the table are to
that one, and to the tutorials' loop where the command ran it too. A row is written for each
training, so the work can be stopped at any time. Run nothing beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

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
from benchmarks.plain_loop import plain_labels, plain_loop
from toolchain.data.layouts import read_dataset
from toolchain.evaluation.evaluate import evaluate
from toolchain.machine import this_machine
from toolchain.metrics.evidence import SIGNIFICANT
from toolchain.metrics.mcnemar import mcnemar_p
from toolchain.progress import SilentReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import read_settings
from toolchain.training.finetune import finetune

STORE = Path(__file__).with_name("training_ways.jsonl")
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN = "<!-- Made by `python -m benchmarks.training_ways --write`. -->\n"
END = "<!-- End of the ways. -->\n"
AS_IT_IS = "as it is"
LOOP = "tutorials' loop"


class Way(NamedTuple):
    """What is changed in a recipe, and how the table says it."""

    changed: dict[str, Any]
    text: str


WAYS: dict[str, dict[str, Way]] = {
    "photos-full": {
        AS_IT_IS: Way({}, ""),
        LOOP: Way({}, "the tutorials' loop"),
        "channels last": Way({"channels_last": True}, "`--channels-last`"),
        "start size 160": Way({"start_size": 160}, "`--start-size 160`"),
        "start size 128": Way(
            {"start_size": 128, "start_size_epochs": 7},
            "`--start-size 128 --start-size-epochs 7`",
        ),
        "start size 128, longer": Way(
            {"start_size": 128, "start_size_epochs": 8},
            "`--start-size 128 --start-size-epochs 8`",
        ),
        "start size 112": Way(
            {"start_size": 112, "start_size_epochs": 8},
            "`--start-size 112 --start-size-epochs 8`",
        ),
        "160, channels last": Way(
            {"start_size": 160, "start_size_epochs": 7, "channels_last": True},
            "`--start-size 160 --start-size-epochs 7 --channels-last`",
        ),
        "frozen stem": Way(
            {"strategy": "partial", "freeze_until": "layer1"},
            "`--strategy partial --freeze-until layer1`: the stem's outputs are kept",
        ),
        "frozen to layer2": Way(
            {"strategy": "partial", "freeze_until": "layer2"},
            "`--strategy partial --freeze-until layer2`",
        ),
        "compile": Way({"compile": True}, "`--compile`"),
    },
    "photos-head": {
        AS_IT_IS: Way({}, ""),
        LOOP: Way({}, "the tutorials' loop"),
        "no workers": Way({"workers": 0}, "`--workers 0`: no processes that decode"),
        "decode scale 2": Way({"decode_scale": 2}, "`--decode-scale 2`: JPEGs decoded smaller"),
        "probe": Way(
            {"head_start": "probe", "epochs": 1},
            "`--head-start probe --epochs 1`: fitted by L-BFGS",
        ),
    },
}
"""Recipe → way → what it is."""

Row = dict[str, Any]
"""`recipe`, `data`, `way`, `seed`, `run` (the same for trainings that followed each other),
`machine`; `seconds`, and `right`, a letter for each validation image: 1 where the model's label is
right, else 0."""


def run(recipe: str, name: str, seed: int, ways: Sequence[str]) -> None:
    """Train a set with each way that has no row yet, after the recipe as it is; append the rows."""
    key = (recipe, name, seed)
    rows = [row for row in read_rows(STORE) if (row["recipe"], row["data"], row["seed"]) == key]
    done = {row["way"] for row in rows}
    wanted = [way for way in WAYS[recipe] if way in ways and way not in done]
    if not wanted:
        return
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for way in (AS_IT_IS, *(way for way in wanted if way != AS_IT_IS)):
        row = {"recipe": recipe, "data": name, "way": way, "seed": seed, "run": began}
        settings = _settings(recipe, name, seed, WAYS[recipe][way].changed)
        figures = _looped(settings) if way == LOOP else _trained(settings)
        append_row(row | figures | {"machine": _machine()}, STORE)


def _settings(recipe: str, name: str, seed: int, changed: dict[str, Any]) -> FinetuneSettings:
    given = {"data": str(SHARED / "data" / name), "weights": str(WEIGHTS), "seed": seed}
    return read_settings(ROOT / "configs" / f"{recipe}.toml", given | changed)


def _trained(settings: FinetuneSettings) -> Row:
    """Train once, with an empty cache, and return the figures."""
    folder = Path(tempfile.mkdtemp(prefix="rtl-ways-"))
    os.environ["RTL_CACHE_DIR"] = str(folder / "cache")
    try:
        started = time.perf_counter()
        result = finetune(settings, folder / "run", progress=SilentReporter())
        seconds = time.perf_counter() - started
        judged = evaluate(result.run.path, split="val")
    finally:
        shutil.rmtree(folder)
    return _row(seconds, [image.label == image.predicted for image in judged.results])


def _looped(settings: FinetuneSettings) -> Row:
    """Train once by the tutorials' loop and return the figures, images in the data's order too."""
    trained = plain_loop(settings)
    labels = plain_labels(trained.model, settings)
    data = read_dataset(settings.data)
    truth = {sample.path: data.classes[sample.labels[0]] for sample in data.val}
    return _row(trained.seconds, [labels[path] == label for path, label in truth.items()])


def _row(seconds: float, right: Iterable[bool]) -> Row:
    return {"seconds": round(seconds, 1), "right": "".join(str(int(each)) for each in right)}


def _machine() -> str:
    machine = this_machine()
    return f"{machine}, torch {machine.versions['torch']}"


def table(rows: Sequence[Row]) -> str:
    """Return the table: a line a recipe, set and way, beside the recipe as it is and the loop."""
    lines = [
        "| recipe | set | way | seeds | accuracy | as it is | times as fast | as the loop |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for recipe, ways in WAYS.items():
        for name in SETS:
            own = [row for row in rows if (row["recipe"], row["data"]) == (recipe, name)]
            plain, loop = (
                {r["run"]: r for r in own if r["way"] == way} for way in (AS_IT_IS, LOOP)
            )
            for way, (_, text) in ways.items():
                its = [row for row in own if row["way"] == way]
                if way == AS_IT_IS:
                    its = [row for row in its if row["run"] in loop]
                if its:
                    figures = _figures(its, plain, loop)
                    cells = [recipe, name, text or "as it is", *figures]
                    lines.append(f"| {' | '.join(cells)} |".replace("%", " %"))
    machines = "; ".join(dict.fromkeys(row["machine"] for row in rows))
    return "\n".join([f"Measured on {machines}.", "", *lines, ""])


def _figures(its: Sequence[Row], plain: dict[str, Row], loop: dict[str, Row]) -> list[str]:
    """Return seeds, accuracy, that of the recipe as it is, and the ratios of times to both others.

    `plain` and `loop` are the trainings of the recipe as it is and of the tutorials' loop, by run.
    """
    right, before = _right(its), _right([plain[row["run"]] for row in its])
    p = mcnemar_p(int((right & ~before).sum()), int((before & ~right).sum()))
    judged = " (can't tell)" if p > SIGNIFICANT else f" (p = {p:.3f})"
    return [
        str(len({row["seed"] for row in its})),
        f"{right.mean():.1%}{judged if its[0]['way'] != AS_IT_IS else ''}",
        f"{before.mean():.1%}",
        _times_as_fast(its, plain),
        _times_as_fast(its, loop),
    ]


def _times_as_fast(its: Sequence[Row], others: dict[str, Row]) -> str:
    """Return the median ratio of others' times to these, in the runs that have both."""
    ratios = [others[row["run"]]["seconds"] / row["seconds"] for row in its if row["run"] in others]
    return f"{statistics.median(ratios):.2f} ×" if ratios else "–"


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
    known = list(dict.fromkeys(way for ways in WAYS.values() for way in ways))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", choices=WAYS)
    parser.add_argument("data", nargs="*", metavar="SET")
    parser.add_argument("--ways", nargs="+", default=known, choices=known)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.data:
        # A first training imports and opens what the others find there.
        _trained(_settings("photos-head", arguments.data[0], SEEDS[0], {}))
    for seed in arguments.seeds:
        for name in arguments.data:
            run(arguments.recipe, name, seed, arguments.ways)
    if arguments.write:
        write()


if __name__ == "__main__":
    main()
