"""What `rtl data check` finds of planted faults, on real photographs.

Run it as `python -m benchmarks.data_check`. Leaks, truncated files, near duplicates and false pairs
need no network. With `--weights FILE` labels are flipped too; with `--many 100000` so many small
files are made and read. The results are in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from toolchain.checking.backbone import open_backbone
from toolchain.checking.label_scores import score_labels
from toolchain.checking.pooled_features import pooled_features
from toolchain.data.audit import audit_dataset
from toolchain.data.layouts import read_dataset
from toolchain.networks.device import choose_device
from toolchain.progress import SilentReporter

SETS = ("steel6", "hymenoptera", "food10_64px", "food3")
LABEL_SETS = ("food3", "hymenoptera", "steel6")
FLIPPED, SEEDS = 0.05, 5
Planted = list[tuple[str, str]]


def cropped(image: Image.Image, edges: tuple[float, float, float, float]) -> Image.Image:
    """Return an image without shares of its side at left, top, right and bottom."""
    width, height = image.size
    left, top, right, bottom = edges
    return image.crop((
        round(left * width), round(top * height), round((1 - right) * width),
        round((1 - bottom) * height),
    ))  # fmt: skip


def near_copies(image: Image.Image) -> Iterator[tuple[Image.Image, int]]:
    """Yield (copy, JPEG quality): encoded anew, resized, cropped by 3 % in three ways."""
    width, height = image.size
    yield image, 40
    yield image, 70
    yield image.resize((width // 2, height // 2)), 85
    yield image.resize((width * 3 // 2, height * 3 // 2)), 85
    yield cropped(image, (0.03, 0.03, 0.03, 0.03)), 85
    yield cropped(image, (0.03, 0.03, 0, 0)), 85
    yield cropped(image, (0, 0, 0.03, 0.03)), 85


def plant(data: Path, rng: np.random.Generator) -> tuple[Planted, Planted, list[str]]:
    """Plant 20 leaks, 20 near duplicates and 10 truncated files; return them."""
    files = sorted((data / "val").rglob("*.jpg"))
    chosen = [files[i] for i in rng.choice(len(files), 50, replace=False)]
    leaks, near, truncated = [], [], []
    for number, file in enumerate(chosen):
        place = data / "train" / file.parent.name
        name = file.relative_to(data).as_posix()
        copy = place / f"planted-{number}.jpg"
        if number < 20:
            shutil.copy(file, copy)
            leaks.append((name, copy.relative_to(data).as_posix()))
        elif number < 40:
            copies = list(near_copies(Image.open(file)))
            image, quality = copies[number % len(copies)]
            image.save(copy, quality=quality)
            near.append((name, copy.relative_to(data).as_posix()))
        else:
            data_of = file.read_bytes()
            copy.write_bytes(data_of[: int(len(data_of) * rng.uniform(0.1, 0.98))])
            truncated.append(copy.relative_to(data).as_posix())
    return leaks, near, truncated


def together(groups: tuple[tuple[str, ...], ...], pairs: Planted) -> int:
    """Return how many pairs stand in one group."""
    return sum(any(a in group and b in group for group in groups) for a, b in pairs)


def measure_planted(source: Path, scratch: Path) -> dict[str, object]:
    """Return what is found of the faults planted into a copy of a set, and its false pairs."""
    data = shutil.copytree(source, scratch / source.name)
    clean = audit_dataset(read_dataset(data), thorough=True)[1]
    leaks, near, truncated = plant(data, np.random.default_rng(0))
    audit = audit_dataset(read_dataset(data), thorough=True)[1]
    return {
        "set": source.name,
        "images": clean.images,
        "leaks": f"{together(audit.leaks, leaks)} of {len(leaks)}",
        "near": f"{together(audit.near_leaks, near)} of {len(near)}",
        "truncated": f"{len(set(truncated) & set(audit.truncated))} of {len(truncated)}",
        "groups without planting": [list(group) for group in clean.near_duplicates],
    }


def measure_labels(source: Path, weights: str) -> dict[str, object]:
    """Return the share of flipped labels among the k and 2k least probable ones."""
    dataset, _ = audit_dataset(read_dataset(source), SilentReporter())
    backbone = open_backbone(weights, "", dataset, SilentReporter())
    samples = [*dataset.train, *dataset.val, *dataset.test]
    features = pooled_features(dataset, backbone, choose_device("cpu"), SilentReporter())
    truth = np.array([sample.labels[0] for sample in samples])
    within: list[tuple[float, float]] = []
    started = time.perf_counter()
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        count = round(FLIPPED * len(truth))
        bad = rng.choice(len(truth), count, replace=False)
        labels = truth.copy()
        shifts = rng.integers(1, len(dataset.classes), count)
        labels[bad] = (truth[bad] + shifts) % len(dataset.classes)
        order = score_labels(features, labels, len(dataset.classes)).order.tolist()
        wrong = set(bad.tolist())
        within.append(
            (len(wrong & set(order[:count])) / count, len(wrong & set(order[: 2 * count])) / count)
        )
    k, two_k = np.mean(within, axis=0)
    seconds = (time.perf_counter() - started) / SEEDS
    return {"set": source.name, "within k": k, "within 2k": two_k, "seconds": seconds}


def make_many(folder: Path, sources: list[Path], count: int) -> Path:
    """Write small JPEGs, parts of photographs, into ten classes and two splits."""
    rng = np.random.default_rng(0)
    images = [Image.open(path).convert("RGB") for path in sources]
    for number in range(count):
        image = images[rng.integers(len(images))]
        side = int(rng.integers(50, min(image.size) - 1))
        x, y = (int(rng.integers(0, length - side)) for length in image.size)
        place = folder / ("val" if number % 5 == 0 else "train") / f"class{number // 5 % 10}"
        place.mkdir(parents=True, exist_ok=True)
        part = image.resize((64, 64), box=(x, y, x + side, y + side))
        part.save(place / f"{number}.jpg", quality=80)
    return folder


def measure_many(scratch: Path, sources: list[Path], count: int) -> dict[str, object]:
    """Return time and peak memory of the command on many small files."""
    data = make_many(scratch / "many", sources, count)
    words = [sys.executable, "-m", "toolchain", "data", "check", str(data), "--json", "--quiet"]
    started = time.perf_counter()
    subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "files": count,
        "seconds": round(seconds),
        "processor seconds": round(used.ru_utime + used.ru_stime),
        "peak MB": round(used.ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", default="", help="flip labels too, with this network")
    parser.add_argument("--many", type=int, default=0, help="read so many small files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            print(json.dumps(measure_planted(options.data / name, Path(folder))), flush=True)
        for name in LABEL_SETS if options.weights else ():
            print(json.dumps(measure_labels(options.data / name, options.weights)), flush=True)
        if options.many:
            sources = sorted((options.data / "hymenoptera").rglob("*.jpg"))
            print(json.dumps(measure_many(Path(folder), sources, options.many)), flush=True)


if __name__ == "__main__":
    main()
