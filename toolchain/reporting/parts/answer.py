"""The top of the page: what the model is, how good, verified or not, how fast, on what machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toolchain.benchmarking.result import Benchmark
from toolchain.benchmarking.rows import TargetResult
from toolchain.display import megabytes, percent
from toolchain.metrics.intervals import wilson_interval
from toolchain.metrics.wording import accuracy_qualifier
from toolchain.printable import shell_words
from toolchain.reporting.charts.svg import Drawing, interval_bar
from toolchain.reporting.reading.sources import RunFiles
from toolchain.runs.runfolder import MODEL_SUFFIXES
from toolchain.verification.inspection_result import (
    aligned_rows,
    network_words,
    preprocessing_words,
    probability_words,
)


class Measured(NamedTuple):
    """An accuracy, its interval, and the images that it was measured on."""

    accuracy: float
    low: float
    high: float
    images: int
    split: str
    caution: str
    """What makes it better than it is; empty for images that decided nothing."""


class Tile(NamedTuple):
    """One figure of the answer."""

    name: str
    value: str
    details: Sequence[str]
    tone: str = ""
    bar: Drawing | None = None


@dataclass(frozen=True)
class Answer:
    """The top of the page."""

    title: str
    lead: str
    tiles: list[Tile]
    facts: list[tuple[str, str]]
    """What the card says."""
    gaps: list[str]


def answer(files: RunFiles) -> Answer:
    """Return the answer that the files of a run give."""
    card = files.card
    network = card.architecture.replace("resnet", "ResNet-", 1)
    found = measured(files)
    return Answer(
        title=files.name,
        lead=_lead(files, network, found),
        tiles=[_accuracy_tile(files, found), _verified_tile(files), _speed_tile(files)],
        facts=[
            ("network", network_words(card).replace(card.architecture, network, 1)),
            ("classes", _classes(card.classes)),
            ("images", preprocessing_words(card)),
            ("probabilities", probability_words(card)),
            *((name, str(words)) for name, words in aligned_rows(card)),
            ("made", f"{card.created}, by rtl {card.versions.get('rtl', '?')}"),
            ("weights", card.weights.sha256),
        ],
        gaps=files.gaps + _contradictions(files),
    )


def measured(files: RunFiles) -> Measured | None:
    """Return the accuracy of the evaluation, else that of the validation images in training."""
    if files.evaluation is not None:
        file = files.evaluation.file
        caution = camera_caution(files) or {
            "train": "these are the images that it was trained on",
            "val": "these images chose the best epoch, so it is a little too high",
        }.get(file.split, "")
        return Measured(file.accuracy, *file.accuracy_interval, file.images, file.split, caution)
    summary = files.summary or {}
    images, accuracy = summary.get("val_images"), summary.get("val_accuracy")
    if not isinstance(images, int) or not isinstance(accuracy, int | float) or images < 1:
        return None
    low, high = wilson_interval(round(accuracy * images), images)
    chosen = "these images chose the best epoch, so it is a little too high"
    caution = camera_caution(files) or chosen
    return Measured(float(accuracy), low, high, images, "val", caution)


def camera_caution(files: RunFiles) -> str:
    """Return what to think of an accuracy on another camera's images; empty for the model's own."""
    elsewhere = files.evaluation is not None and files.evaluation.file.as_trained is False
    if elsewhere or not files.for_other_camera:
        return ""
    return "the model is for another camera, and these images are not of it"


def leak_caution(files: RunFiles) -> str:
    """Return what to think of an accuracy on images that training saw too; empty without any."""
    elsewhere = files.evaluation is not None and files.evaluation.file.as_trained is False
    if not files.in_several_splits or elsewhere:
        return ""
    times = files.in_several_splits
    what = "an image is" if times == 1 else f"{times} images are"
    return f"{what} in more than one split of the data, so it is too high"


def split_words(split: str) -> str:
    """Return how a split is called beside a number of images.

    >>> split_words("val"), split_words("all")
    ('validation images', 'images')
    """
    names = {"val": "validation images", "test": "test images", "train": "training images"}
    return names.get(split, "images")


def fastest(
    benchmarks: Sequence[Benchmark], weights_sha256: str
) -> tuple[TargetResult, Benchmark] | None:
    """Return the lowest median for the smallest batch, and the benchmark that measured it.

    Of model files where any was measured: torch itself is not what a device runs. Never of a file
    with other weights, which stood beside this model's.
    """
    every = [
        (row, bench)
        for bench in benchmarks
        for row in bench.results
        if not any(
            model.target == row.target and model.weights_sha256 not in (None, weights_sha256)
            for model in bench.models
        )
    ]
    rows = [pair for pair in every if pair[0].model.endswith(MODEL_SUFFIXES)] or every
    if not rows:
        return None
    smallest = min(row.batch_size for row, _ in rows)
    return min(
        ((row, bench) for row, bench in rows if row.batch_size == smallest),
        key=lambda pair: pair[0].p50_ms,
    )


def _lead(files: RunFiles, network: str, found: Measured | None) -> str:
    classes = files.card.classes
    task = "finds" if files.card.task == "multi-label" else "tells apart"
    what = f"A {network} that {task} {len(classes)} classes"
    if found is None:
        return f"{what}. How good it is has not been measured."
    qualifier = accuracy_qualifier(files.card.task)
    return (
        f"{what}. Of {found.images} {split_words(found.split)} {percent(found.accuracy)} are "
        f"right{qualifier.removeprefix(' right')}; of many more such images it would be between "
        f"{percent(found.low)} and {percent(found.high)}.{_care_sentence(files)}"
    )


def _care_sentence(files: RunFiles) -> str:
    cautions = [text for text in (camera_caution(files), leak_caution(files)) if text]
    return f" Take that with care: {'; '.join(cautions)}." if cautions else ""


def _accuracy_tile(files: RunFiles, found: Measured | None) -> Tile:
    if found is None:
        return Tile("accuracy", "not measured", [files.evaluate_command], "unsure")
    interval = f"95 % interval {percent(found.low)} to {percent(found.high)}"
    details = [interval, f"{found.images} {split_words(found.split)}"]
    details += [text for text in (found.caution, leak_caution(files)) if text]
    bar = interval_bar(found.accuracy, found.low, found.high, interval)
    tone = "unsure" if _care_sentence(files) else ""
    return Tile("accuracy", percent(found.accuracy), details, tone, bar)


def _verified_tile(files: RunFiles) -> Tile:
    if not files.models:
        again = shell_words("rtl", "export", files.folder.path)
        return Tile("verified files", "not exported", [again], "unsure")
    passed = [model for model in files.models if model.verified]
    tone = "good" if len(passed) == len(files.models) else "bad"
    details = [f"{model.path.name}, {megabytes(model.bytes)}" for model in passed[:3]]
    details += [f"and {len(passed) - 3} more"] if len(passed) > 3 else []
    details += [f"NOT verified: {m.path.name}" for m in files.models if not m.verified]
    return Tile("verified files", f"{len(passed)} of {len(files.models)}", details, tone)


def _speed_tile(files: RunFiles) -> Tile:
    found = fastest(files.benchmarks, files.card.weights.sha256)
    if found is None:
        return Tile(
            "speed", "not measured", [shell_words("rtl", "bench", files.folder.path)], "unsure"
        )
    row, bench = found
    what = "an image" if row.batch_size == 1 else f"a batch of {row.batch_size}"
    threads = "1 thread" if row.threads == 1 else f"{row.threads} threads"
    threads += ", spin" if row.spin else ""
    doubts = [f"a rough figure, {reason.kind}: {reason.detail}" for reason in row.reasons]
    details = [f"{what}, median; {row.target}, {threads}", str(bench.machine), *doubts]
    return Tile("speed", f"{row.p50_ms:.1f} ms", details)


def _classes(classes: Sequence[str], most: int = 24) -> str:
    more = f" … {len(classes) - most} more" if len(classes) > most else ""
    return ", ".join(classes[:most]) + more


def _contradictions(files: RunFiles) -> list[str]:
    """Return what of the evaluation does not belong to this model or to its own data."""
    if files.evaluation is None:
        return []
    file, lines = files.evaluation.file, []
    if file.weights_sha256 and file.weights_sha256 != files.card.weights.sha256:
        lines.append("the evaluation is of other weights than the run has now: evaluate it again")
    if file.as_trained is False:
        lines.append(f"evaluated on images that are not those of training: {file.data}")
    return lines
