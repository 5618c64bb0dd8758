"""What `rtl finetune --target` gains for the photographs of another camera, on real photographs.

Run it as `python -m benchmarks.aligning ROWS.jsonl`. For each set, camera and seed a recipe is
trained on the training images, without a target and with each alignment; the target are the
validation images as a synthetic camera of `toolchain/adaptation/cameras.py` sees them. They are
given without labels and are what is measured: transductive, as in benchmarks/adapting.py. Only
cameras that cost the recipe more than 10 points are aligned, and the pair of food3 with two classes
of food10_64px. A row is written for each training, and rows that are there are not trained again,
so that it can be stopped at any time. The table is in docs/adapting.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from toolchain.adaptation.cameras import CAMERAS, photographed
from toolchain.evaluation.evaluate import evaluate
from toolchain.runs.settings_file import read_settings
from toolchain.training.finetune import finetune

SETS = ("hymenoptera", "food3", "steel6")
METHODS = ("bn", "mmd", "dann", "coral", "mcc")
SEEDS = (0, 1, 2)
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


class Rows:
    """Rows of a file, one for each training; each is on the disk before the next begins."""

    def __init__(self, file: Path) -> None:
        self.file = file
        lines = file.read_text().splitlines() if file.is_file() else []
        self.rows: list[Row] = [json.loads(line) for line in lines]

    def of(self, **wanted: object) -> list[Row]:
        return [row for row in self.rows if all(row[key] == wanted[key] for key in wanted)]

    def add(self, row: Row) -> None:
        self.rows.append(row)
        with self.file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


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
    return 100 * evaluate(run, data=str(folder)).accuracy


def measure(options: argparse.Namespace, rows: Rows, name: str) -> None:
    """Train what has no row yet: first without a target, then what lost enough by its camera."""
    cameras = dict(targets(options.data, name, options.cache))
    if options.cameras:
        cameras = {camera: cameras[camera] for camera in options.cameras if camera in cameras}
    for seed in options.seeds:
        missing = [c for c in cameras if not rows.of(set=name, camera=c, seed=seed, method=SOURCE)]
        if not missing:
            continue
        started = time.monotonic()
        run = train(options, name, seed, SOURCE, Path("none"))
        seconds = round(time.monotonic() - started, 1)
        clean = accuracy(run, options.data / name / "val")
        for camera in missing:
            found = accuracy(run, cameras[camera])
            rows.add(_row(name, camera, seed, SOURCE, clean, found, seconds))
        shutil.rmtree(run)
    for camera, folder in cameras.items():
        sources = rows.of(set=name, camera=camera, method=SOURCE)
        drop = np.mean([row["clean"] - row["accuracy"] for row in sources])
        if drop <= DROP and camera != PAIR:
            continue
        for seed in options.seeds:
            for method in options.methods:
                if rows.of(set=name, camera=camera, seed=seed, method=method):
                    continue
                started = time.monotonic()
                run = train(options, name, seed, method, folder)
                seconds = round(time.monotonic() - started, 1)
                clean = accuracy(run, options.data / name / "val")
                found = accuracy(run, folder)
                rows.add(_row(name, camera, seed, method, clean, found, seconds))
                shutil.rmtree(run)


def _row(
    name: str, camera: str, seed: int, method: str, clean: float, found: float, seconds: float
) -> Row:
    return {
        "set": name,
        "camera": camera,
        "seed": seed,
        "method": method,
        "clean": round(clean, 2),
        "accuracy": round(found, 2),
        "seconds": seconds,
    }


def print_table(rows: Rows) -> None:
    """Print the mean over the seeds of each case, and on how many a method is not below."""
    print(f"| set | camera | drop | {SOURCE} | {' | '.join(METHODS)} |")
    print(f"|---|---|--:|--:|{'--:|' * len(METHODS)}")
    for name, camera in dict.fromkeys((row["set"], row["camera"]) for row in rows.rows):
        sources = {r["seed"]: r for r in rows.of(set=name, camera=camera, method=SOURCE)}
        if not sources:
            continue
        before = np.mean([row["accuracy"] for row in sources.values()])
        drop = np.mean([row["clean"] for row in sources.values()]) - before
        cells = [_cell(rows.of(set=name, camera=camera, method=m), sources) for m in METHODS]
        print(f"| {name} | {camera} | {drop:.1f} | {before:.1f} | {' | '.join(cells)} |")


def _cell(found: list[Row], sources: dict[int, Row]) -> str:
    if not found:
        return "–"
    mean = np.mean([row["accuracy"] for row in found])
    base = np.mean([sources[row["seed"]]["accuracy"] for row in found])
    as_good = sum(row["accuracy"] >= sources[row["seed"]]["accuracy"] for row in found)
    return f"{mean:.1f} ({mean - base:+.1f}, {as_good} of {len(found)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path, help="JSON lines; trainings that have one are kept")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--weights",
        type=Path,
        default=Path("../shared/weights/resnet18-imagenet-partial.safetensors"),
    )
    parser.add_argument("--cache", type=Path, default=Path("aligning-photographs"))
    parser.add_argument("--sets", nargs="+", default=SETS, help="folders of --data")
    parser.add_argument("--cameras", nargs="+", help="only these")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--views", type=int, default=5)
    parser.add_argument("--weight", type=float, default=1.0)
    options = parser.parse_args()
    rows = Rows(options.rows)
    for name in options.sets:
        measure(options, rows, name)
    print_table(rows)


if __name__ == "__main__":
    main()
