"""Where the seconds of a head's training go: a whole command, and its parts beside it.

    python -m benchmarks.head_parts              measure three rounds, append them to the .jsonl
    python -m benchmarks.head_parts --write      the table in docs/benchmarks.md

`rtl finetune` with configs/photos-head.toml on hymenoptera, as commands of their own: with an
empty cache, again with the features that it kept, and with these for one epoch only. Features and
epochs are the differences. Imports, decoding and the pass of the network are measured alone too,
each in a fresh process. Run nothing beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks.material import ROOT, SHARED, WEIGHTS, append_row, read_rows, with_made_part
from toolchain.machine import this_machine

STORE = Path(__file__).with_name("head_parts.jsonl")
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN = "<!-- Made by `python -m benchmarks.head_parts --write`. -->\n"
END = "<!-- End of the parts. -->\n"
RECIPE = ROOT / "configs" / "photos-head.toml"
PHOTOGRAPHS = SHARED / "data" / "hymenoptera"
ROUNDS, EPOCHS, WORKERS = 3, 20, 2

Row = dict[str, Any]
"""Seconds of one round: `whole`, `kept`, `kept_one_epoch`, `imports`, `engine`, `decoding`,
`network`; `images`, and `machine`."""


def measure() -> Row:
    """Measure everything once, each in a fresh process, and return the row."""
    with tempfile.TemporaryDirectory(prefix="rtl-parts-") as name:
        folder = Path(name)
        environment = os.environ | {"RTL_CACHE_DIR": str(folder / "cache")}
        row: Row = {
            "whole": _training_s(folder / "whole", EPOCHS, environment),
            "kept": _training_s(folder / "kept", EPOCHS, environment),
            "kept_one_epoch": _training_s(folder / "one", 1, environment),
            "imports": _seconds([sys.executable, "-c", "import toolchain.training.finetune"]),
        }
    alone = [sys.executable, "-m", "benchmarks.head_parts", "--alone"]
    done = subprocess.run(alone, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: Row = json.loads(done.stdout)
    machine = this_machine()
    versions = f"torch {machine.versions['torch']}, onnxruntime {machine.versions['onnxruntime']}"
    return row | found | {"machine": f"{machine}, {versions}"}


def _training_s(run: Path, epochs: int, environment: dict[str, str]) -> float:
    return _seconds(
        [
            *(sys.executable, "-m", "toolchain", "finetune", str(PHOTOGRAPHS), "--quiet"),
            *("--config", str(RECIPE), "--weights", str(WEIGHTS), "-o", str(run)),
            *("--epochs", str(epochs), "--workers", str(WORKERS)),
        ],
        environment,
    )


def _seconds(command: Sequence[str], environment: dict[str, str] | None = None) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return round(time.perf_counter() - started, 2)


def measure_alone() -> Row:
    """Decode all photographs, then compute their features; return the seconds of each.

    Worker processes decode, and the engine that `rtl finetune` takes computes pixels that are in
    memory: ResNet-18 to its last layer, of random weights, which take as long as any.
    """
    from toolchain.data.layouts import read_dataset
    from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
    from toolchain.networks.split import FrozenBackbone, network_parts
    from toolchain.runtime.card import Preprocessing
    from toolchain.training.features.engine import fastest_engine
    from toolchain.training.inputs.samples import clean_source

    data, preprocessing = read_dataset(str(PHOTOGRAPHS)), Preprocessing()
    classifier = Classifier(build_network("resnet18", 2), IMAGENET_NORMALISATION)
    backbone = FrozenBackbone(classifier, len(network_parts(classifier.network)) - 1).eval()
    started = time.perf_counter()
    engine = fastest_engine(backbone, preprocessing.size, torch.device("cpu"))
    made = time.perf_counter()
    samples = (*data.train, *data.val)
    batches = clean_source(samples, 2, preprocessing, batch_size=engine.batch, workers=WORKERS)
    pixels = [batch.inputs.numpy() for batch in batches.epoch(0)]
    decoded = time.perf_counter()
    with ThreadPoolExecutor(engine.threads) as pool:
        images = sum(len(features) for features in pool.map(engine, pixels))
    computed = time.perf_counter()
    return {
        "engine": round(made - started, 2),
        "decoding": round(decoded - made, 2),
        "network": round(computed - decoded, 2),
        "images": images,
    }


def table(rows: Sequence[Row]) -> str:
    """Return the table: the parts of a whole command, medians of the rounds."""

    def median(seconds: Callable[[Row], float]) -> float:
        return statistics.median(seconds(row) for row in rows)

    images = rows[0]["images"]
    epochs_s = median(lambda row: (row["kept"] - row["kept_one_epoch"]) * EPOCHS / (EPOCHS - 1))
    features_s = median(lambda row: row["whole"] - row["kept"])
    imports_s = median(lambda row: row["imports"])
    whole_s = median(lambda row: row["whole"])
    parts = {
        "the whole command, with an empty cache": whole_s,
        "imports: torch, torchvision, rtl": imports_s,
        f"features of {images} photographs: what the command saves where they are kept": features_s,
        "– the network for onnxruntime, made and checked": median(lambda row: row["engine"]),
        "– its pass alone, pixels in memory": median(lambda row: row["network"]),
        f"– decoding alone, {WORKERS} processes": median(lambda row: row["decoding"]),
        f"{EPOCHS} epochs of the head": epochs_s,
        "what is left: the folder is read, the run written and its curves drawn": (
            whole_s - imports_s - features_s - epochs_s
        ),
    }
    machines = "; ".join(dict.fromkeys(row["machine"] for row in rows))
    head = f"Measured on {machines}; medians of {len(rows)} rounds."
    lines = [f"| {what} | {seconds:.1f} s |" for what, seconds in parts.items()]
    return "\n".join([head, "", "| what | time |", "|---|---|", *lines, ""])


def write() -> None:
    """Write the table into docs/benchmarks.md."""
    page = PAGE.read_text(encoding="utf-8")
    made = with_made_part(page, BEGIN, END, table(read_rows(STORE)))
    PAGE.write_text(made, encoding="utf-8")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(measure_alone()))
    elif arguments.write:
        write()
    else:
        for _ in range(ROUNDS):
            append_row(measure(), STORE)


if __name__ == "__main__":
    main()
