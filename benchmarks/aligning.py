"""What `rtl finetune --target` gains for the photographs of another camera, on real photographs.

    python -m benchmarks.aligning                   what has no row in aligning.jsonl yet
    python -m benchmarks.aligning --sets food3 --methods mmd --seeds 0    some of it
    python -m benchmarks.aligning --write           the table in docs/adapting.md from the rows

For each set, camera and seed a recipe is trained on the training images, without a target and with
each alignment; the target are the validation images as a synthetic camera of
`toolchain/adaptation/cameras.py` sees them. They are given without labels and are what is measured:
transductive, as in benchmarks/adapting.py. Only cameras that cost the recipe more than 10 points in
the mean over the seeds are aligned, and the pair of food3 with two classes of food10_64px. A row is
written for each training, so that the work can be stopped at any time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.material import (
    ROOT,
    SEEDS,
    SHARED,
    WEIGHTS,
    append_row,
    read_rows,
    with_made_part,
)
from toolchain.adaptation.cameras import CAMERAS, photographed
from toolchain.evaluation.evaluate import evaluate
from toolchain.machine import this_machine
from toolchain.runs.settings_file import read_settings
from toolchain.training.finetune import finetune

STORE = Path(__file__).with_name("aligning.jsonl")
PAGE = ROOT / "docs" / "adapting.md"
BEGIN = "<!-- Made by `python -m benchmarks.aligning --write` from benchmarks/aligning.jsonl. -->\n"
END = "<!-- End of what it makes. -->\n"
SETS = ("hymenoptera", "food3", "steel6")
METHODS = ("bn", "mmd", "dann", "coral", "mcc")
DROP = 10.0
"""Points that a camera has to cost, in the mean over the seeds, for the alignments to be tried."""
PAIR = "food10, 64 pixels"
REAL = {"french_fries": "food10_64px/{}/french_fries", "steak": "food10_64px/{}/steak"}
"""Classes of food3 and their folders in another set, whose photographs have 64 pixels."""
SOURCE = "source"
"""The recipe without a target."""
SHORT_SIDE = 256
"""Of the photographs that are written: what the recipe resizes them to anyway."""

Row = dict[str, Any]


class Store:
    """The rows of a file, one for each training; each is on the disk before the next begins."""

    def __init__(self, file: Path) -> None:
        self.file, self.rows = file, read_rows(file)

    def add(self, row: Row) -> None:
        """Keep a row, with the machine that it was measured on."""
        row |= {"machine": this_machine().processor}
        self.rows.append(row)
        append_row(row, self.file)


def rows_of(rows: Sequence[Row], **wanted: object) -> list[Row]:
    """Return the rows with these values."""
    return [row for row in rows if all(row[key] == wanted[key] for key in wanted)]


def targets(data: Path, name: str, cache: Path) -> Iterator[tuple[str, Path]]:
    """Yield (camera, folder of classes) of a set, after writing the photographs."""
    for camera in CAMERAS:
        folder = cache / f"{name}-{camera}"
        if not folder.is_dir():
            _photograph(data / name / "val", camera, folder)
        yield camera, folder
    if name == "food3":
        folder = cache / "food10-pair"
        if not folder.is_dir():
            _copy_pair(data, folder)
        yield PAIR, folder


def _photograph(images: Path, camera: str, folder: Path) -> None:
    made = folder.with_name(f".{folder.name}.{os.getpid()}")
    for number, path in enumerate(sorted(images.glob("*/*"))):
        image = Image.open(path).convert("RGB")
        scale = SHORT_SIDE / min(image.size)
        if scale < 1:
            width, height = (round(side * scale) for side in image.size)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        place = made / path.parent.name / f"{path.stem}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        photographed(image, camera, number).save(place)
    made.rename(folder)


def _copy_pair(data: Path, folder: Path) -> None:
    made = folder.with_name(f".{folder.name}.{os.getpid()}")
    for name, place in REAL.items():
        (made / name).mkdir(parents=True)
        for split in ("train", "val"):
            for path in sorted((data / place.format(split)).iterdir()):
                shutil.copy(path, made / name / f"{split}-{path.name}")
    made.rename(folder)


def train(options: argparse.Namespace, name: str, seed: int, method: str, target: Path) -> Path:
    """Train once and return the run folder."""
    run: Path = options.cache / "runs" / f"{name}-{target.name}-{method}-{seed}-{os.getpid()}"
    given: dict[str, Any] = {
        "data": str(options.data / name),
        "weights": str(options.weights),
        "strategy": "partial",
        "epochs": options.epochs,
        "schedule": "cosine",
        "size": options.size,
        "seed": seed,
        "views": options.views,
    }
    if method != SOURCE:
        given |= {"target": str(target), "align": method, "align_weight": options.weight}
    finetune(read_settings(None, given), run)
    return run


def accuracy(run: Path, folder: Path) -> float:
    """Return the accuracy on a folder of classes, in per cent."""
    return round(100 * evaluate(run, data=str(folder)).accuracy, 2)


def measure(options: argparse.Namespace, store: Store, name: str) -> None:
    """Train what has no row yet: first without a target, then what lost enough by its camera."""
    cameras = dict(targets(options.data, name, options.cache))
    if options.cameras:
        cameras = {camera: cameras[camera] for camera in options.cameras if camera in cameras}

    def measured(seed: int, method: str, wanted: Sequence[str]) -> None:
        """Train once, and keep a row for each of the cameras that has none."""
        known = rows_of(store.rows, set=name, seed=seed, method=method)
        missing = [camera for camera in wanted if not rows_of(known, camera=camera)]
        if not missing:
            return
        started = time.monotonic()
        run = train(options, name, seed, method, cameras[missing[0]])
        row = {
            "set": name,
            "seed": seed,
            "method": method,
            "epochs": options.epochs,
            "views": options.views,
            "seconds": round(time.monotonic() - started, 1),
            "clean": accuracy(run, options.data / name / "val"),
        }
        for camera in missing:
            store.add(row | {"camera": camera, "accuracy": accuracy(run, cameras[camera])})
        shutil.rmtree(run)

    for seed in options.seeds:
        measured(seed, SOURCE, list(cameras))
    for camera in cameras:
        sources = rows_of(store.rows, set=name, camera=camera, method=SOURCE)
        if _drop(sources) <= DROP and camera != PAIR:
            continue
        for seed in options.seeds:
            for method in options.methods:
                measured(seed, method, [camera])


def _drop(sources: Sequence[Row]) -> float:
    """Return the points that a camera costs the recipe, in the mean over its trainings."""
    return float(np.mean([row["clean"] - row["accuracy"] for row in sources]))


def table_of(rows: Sequence[Row]) -> str:
    """Return the mean over the seeds of each case, and on how many a method is not below none."""
    methods = [method for method in METHODS if rows_of(rows, method=method)]
    lines = [
        f"| set | camera | drop | no target | {' | '.join(f'`{m}`' for m in methods)} |",
        f"|---|---|--:|--:|{'--:|' * len(methods)}",
    ]
    for name, camera in dict.fromkeys((row["set"], row["camera"]) for row in rows):
        here = rows_of(rows, set=name, camera=camera)
        sources = {row["seed"]: row for row in rows_of(here, method=SOURCE)}
        if len(here) == len(sources):
            continue
        before = np.mean([row["accuracy"] for row in sources.values()])
        cells = [_cell(rows_of(here, method=method), sources) for method in methods]
        drop = _drop(list(sources.values()))
        lines.append(f"| {name} | {camera} | {drop:.1f} | {before:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(found: Sequence[Row], sources: dict[int, Row]) -> str:
    """Return a mean, what it gains, and on how many seeds it is as good as no target or better."""
    if not found:
        return "–"
    mean = np.mean([row["accuracy"] for row in found])
    base = np.mean([sources[row["seed"]]["accuracy"] for row in found])
    as_good = sum(row["accuracy"] >= sources[row["seed"]]["accuracy"] for row in found)
    return f"{mean:.1f} ({mean - base:+.1f}; {as_good} of {len(found)})"


def written(rows: Sequence[Row], page: str) -> str:
    """Return the page with its table made anew."""
    return with_made_part(page, BEGIN, END, table_of(rows) + "\n")


def main() -> None:
    """Train what is missing, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path, nargs="?", default=STORE, help="JSON lines")
    parser.add_argument("--write", action="store_true", help="docs/adapting.md from the rows")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--cache", type=Path, default=Path("aligning-photographs"))
    parser.add_argument("--sets", nargs="+", default=SETS, help="folders of --data")
    parser.add_argument("--cameras", nargs="+", help="only these")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--weight", type=float, default=1.0)
    options = parser.parse_args()
    store = Store(options.rows)
    if options.write:
        PAGE.write_text(written(store.rows, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    for name in options.sets:
        measure(options, store, name)
    print(table_of(store.rows))


if __name__ == "__main__":
    main()
