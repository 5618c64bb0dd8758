"""What a trainer's process leaves in its folder: a curve while it trains, labels afterwards."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CURVE, LABELS = "curve.jsonl", "labels.json"


@dataclass(frozen=True)
class Options:
    """Arguments of a trainer."""

    photographs: Path
    folder: Path
    epochs: int
    seed: int


def add_to_curve(options: Options, accuracy: float) -> None:
    """Note the seconds since the process was started, and the tool's own validation accuracy."""
    seconds = time.time() - float(os.environ["PEERS_STARTED"])
    with (options.folder / CURVE).open("a", encoding="utf-8") as file:
        file.write(json.dumps([round(seconds, 1), round(accuracy, 4)]) + "\n")


def write_labels(options: Options, paths: Sequence[Path], labels: Sequence[str]) -> None:
    """Write the label of each validation photograph."""
    split = options.photographs / "val"
    names = [Path(path).relative_to(split).as_posix() for path in paths]
    found = dict(zip(names, labels, strict=True))
    (options.folder / LABELS).write_text(json.dumps(found), encoding="utf-8")


def read_curve(folder: Path) -> list[list[float]]:
    """Return (seconds, validation accuracy) after each epoch; empty where a tool tells none."""
    file = folder / CURVE
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines]


def main(steps: Mapping[str, Callable[[Options], None]]) -> None:
    """Run the step that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=steps.keys())
    parser.add_argument("photographs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    options = Options(given.photographs, given.folder, given.epochs, given.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    steps[given.step](options)
