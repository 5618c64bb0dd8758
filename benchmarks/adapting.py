"""What `rtl adapt` gains and costs on other cameras, on real photographs.

Run it as `python -m benchmarks.adapting MODEL`, with an ONNX file whose frozen backbone gives the
features: rtl export of a run with --strategy head. For each set and seed a head is trained on the
features of the training images, as --strategy head does; the validation images are seen through
each camera. Features are kept in --cache, as they take nearly all of the time. The table is in
docs/adapting.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.adaptation.cameras import CAMERAS, photographed
from toolchain.adaptation.gate import Figures, judge
from toolchain.adaptation.original import Original, open_original
from toolchain.runtime.image.preprocess import preprocess

SETS = ("hymenoptera", "food3", "steel6")
SEEDS = 3
REAL = {"french_fries": "food10_64px/{}/french_fries", "steak": "food10_64px/{}/steak"}
"""Classes of food3 and their folders in another set, whose photographs have 64 pixels."""
NOISY = "noise"
"""The camera that differs by seed."""
EPOCHS, BATCH, RATE = 25, 32, 5e-3

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]


def labelled_files(folder: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """Return the images in the folders of classes."""
    return [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    ]


def features(original: Original, files: list[Path], camera: str, seed: int) -> Matrix:
    """Return the features of images as a camera sees them; `clean` changes nothing."""
    size = original.card.preprocessing
    pixels = []
    for number, path in enumerate(files):
        image = Image.open(path).convert("RGB")
        seen = image if camera == "clean" else photographed(image, camera, seed * 10000 + number)
        pixels.append(preprocess(seen, size))
    return original.graph.of_pixels(np.stack(pixels)).astype(np.float64)


class Features:
    """Features that are computed once and kept in a folder."""

    def __init__(self, original: Original, data: Path, cache: Path) -> None:
        self.original, self.data, self.cache = original, data, cache
        cache.mkdir(parents=True, exist_ok=True)

    def of(
        self, name: str, split: str, camera: str = "clean", seed: int = 0
    ) -> tuple[Matrix, Labels]:
        """Return (features, labels) of a split of a set, seen through a camera."""
        classes = sorted(p.name for p in (self.data / name / "train").iterdir() if p.is_dir())
        files = labelled_files(self.data / name / split, classes)
        return self._kept(f"{name}-{split}-{camera}-{seed}", files, camera, seed)

    def of_real_pair(self) -> tuple[Matrix, Labels]:
        """Return (features, labels) of photographs of two classes of food3 from another set."""
        classes = sorted(p.name for p in (self.data / "food3" / "train").iterdir() if p.is_dir())
        files = [
            (path, classes.index(name))
            for split in ("train", "val")
            for name, place in REAL.items()
            for path in sorted((self.data / place.format(split)).iterdir())
        ]
        return self._kept("food10-pair", files, "clean", 0)

    def _kept(
        self, key: str, files: list[tuple[Path, int]], camera: str, seed: int
    ) -> tuple[Matrix, Labels]:
        labels = np.array([label for _, label in files], np.int64)
        place = self.cache / f"{key}.npy"
        if not place.is_file():
            np.save(place, features(self.original, [path for path, _ in files], camera, seed))
        return np.load(place).astype(np.float64), labels


def trained_head(points: Matrix, labels: Labels, seed: int) -> tuple[Matrix, Matrix]:
    """Return (weight, bias) of a classifier, by Adam with a cosine, as --strategy head does."""
    random = np.random.default_rng(seed)
    classes, width = int(labels.max()) + 1, points.shape[1]
    values = [random.uniform(-1, 1, (classes, width)) / np.sqrt(width), np.zeros(classes)]
    first, second = ([np.zeros_like(value) for value in values] for _ in range(2))
    truth, step = np.eye(classes)[labels], 0
    for epoch in range(EPOCHS):
        rate = RATE * (0.5 + 0.5 * np.cos(np.pi * epoch / EPOCHS))
        order = random.permutation(len(points))
        for start in range(0, len(points), BATCH):
            some, step = order[start : start + BATCH], step + 1
            logits = points[some] @ values[0].T + values[1]
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            rest = (powers / powers.sum(axis=1, keepdims=True) - truth[some]) / len(some)
            for place, slope in enumerate((rest.T @ points[some], rest.sum(axis=0))):
                first[place] = 0.9 * first[place] + 0.1 * slope
                second[place] = 0.999 * second[place] + 0.001 * slope**2
                size = np.sqrt(second[place] / (1 - 0.999**step)) + 1e-8
                values[place] = values[place] - rate * first[place] / (1 - 0.9**step) / size
    return values[0], values[1]


def targets(kept: Features, name: str, seed: int) -> Iterator[tuple[str, Matrix, Labels]]:
    """Yield (camera, features, labels) of what a model is adapted to."""
    yield "clean", *kept.of(name, "val")
    for camera in CAMERAS:
        yield camera, *kept.of(name, "val", camera, seed if camera == NOISY else 0)
    if name == "food3":
        yield "food10, 64 pixels", *kept.of_real_pair()


def accuracy(logits: Matrix, labels: Labels) -> float:
    return 100 * float((logits.argmax(axis=1) == labels).mean())


def described(figures: Figures) -> str:
    """Return the figures of the gate in a line."""
    gain, low = 100 * figures.expected_gain, 100 * figures.expected_gain_low
    told_apart = f"told apart {figures.separation:.2f}"
    return f"p {figures.p_same_camera:.1g}, gain {gain:+.1f} low {low:+.1f}, {told_apart}"


def measure(kept: Features, name: str) -> dict[str, list[tuple[float, float, float, bool, float]]]:
    """Return camera → for each seed (clean, before, after, accepted, by matched means)."""
    rows: dict[str, list[tuple[float, float, float, bool, float]]] = {}
    points, labels = kept.of(name, "train")
    for seed in range(SEEDS):
        weight, bias = trained_head(points, labels, seed)
        source = points @ weight.T + bias
        clean = 0.0
        for camera, seen, truth in targets(kept, name, seed):
            logits = seen @ weight.T + bias
            names = [str(number) for number in range(len(bias))]
            found = judge(source, labels, logits, names, {})
            before, after = accuracy(logits, truth), accuracy(logits + found.shift, truth)
            clean = before if camera == "clean" else clean
            matched = accuracy(logits + source.mean(axis=0) - logits.mean(axis=0), truth)
            rows.setdefault(camera, []).append(
                (clean, before, after, found.refused is None, matched)
            )
            what = f"# {name} {camera} {seed}: {before:.1f} → {after:.1f}"
            print(f"{what}, {described(found.figures)}: {found.refused or 'accepted'}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="an ONNX file of a run with --strategy head")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("adapting-features"))
    parser.add_argument("--sets", nargs="+", default=SETS, help="folders of --data")
    options = parser.parse_args()
    kept = Features(open_original(options.model), options.data, options.cache)
    print(
        "| set | camera | drop | before | shift found | accepted | after the gate | means matched |"
    )
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for name in options.sets:
        for camera, seeds in measure(kept, name).items():
            clean, before, after, accepted, matched = np.mean(np.array(seeds, float), axis=0)
            kept_ones = [row[2] if row[3] else row[1] for row in seeds]
            gain = float(np.mean(kept_ones)) - before
            print(
                f"| {name} | {camera} | {clean - before:.1f} | {before:.1f} | {after:.1f} "
                f"| {round(accepted * SEEDS)} of {SEEDS} | {before + gain:.1f} ({gain:+.1f}) "
                f"| {matched:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
