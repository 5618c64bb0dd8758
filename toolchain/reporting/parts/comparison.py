"""The comparison of runs: what differs in their settings, a paired test, who is right where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolchain.display import percent
from toolchain.metrics.evidence import SIGNIFICANT, can_show_a_difference
from toolchain.metrics.mcnemar import mcnemar_p
from toolchain.reporting.charts.svg import Drawing, interval_bar
from toolchain.reporting.images.pictures import Pictures
from toolchain.reporting.parts.answer import Tile, answer, measured, split_words
from toolchain.reporting.parts.photos import answer_words, label_words
from toolchain.reporting.reading.sources import RunFiles
from toolchain.reporting.reading.stored_evaluation import StoredEvaluation
from toolchain.runs.settings import TRACKERS, FinetuneSettings

MOST_SHOWN = 36
"""Photographs of each list of images that only one of two runs has right."""
SAME_RESULT = ("workers", "device", "cache_gb", *TRACKERS, "cache")
"""Settings that change how long a run takes, and not what comes out."""


class RunRow(NamedTuple):
    """One run in the table of all."""

    letter: str
    name: str
    path: str
    accuracy: str
    bar: Drawing | None
    on: str
    figures: Sequence[str]
    """macro F1, AUC, loss, calibration error, files, speed; – where there is none."""


class ImageOfTwo(NamedTuple):
    """An image that only one of two runs has right."""

    src: str | None
    file: str
    label: str
    wrong_answer: str


@dataclass(frozen=True)
class Pair:
    """A run beside the first one, on the same images."""

    first: str
    other: str
    images: int
    both_right: int
    both_wrong: int
    only_first: int
    only_other: int
    p: float
    verdict: str
    first_right: list[ImageOfTwo]
    other_right: list[ImageOfTwo]
    classes: list[tuple[str, int, float, float]]
    """(class, images, F1 of the first, F1 of the other), the largest difference first."""


@dataclass(frozen=True)
class Comparison:
    """The page that compares runs."""

    runs: list[RunRow]
    columns: Sequence[str]
    settings: list[tuple[str, list[str]]]
    """(setting, its value in each run) of those that differ."""
    pairs: list[Pair]
    not_paired: list[str]
    """Why a run has no pair, a line each."""


COLUMNS = ("macro F1", "AUC", "loss", "calibration error", "verified files", "speed")


def letter_of(number: int) -> str:
    """Return the name of a run in the tables: A, B … Z, then numbers."""
    return chr(ord("A") + number) if number < 26 else f"run {number + 1}"


def comparison(
    read: Sequence[RunFiles],
    place_of: Callable[[StoredEvaluation], Path | None],
    pictures: Pictures,
) -> Comparison:
    """Return the page; `place_of` returns where the evaluated images are, None for no pictures."""
    pairs, not_paired = [], []
    for number, other in enumerate(read[1:], start=1):
        names = (letter_of(0), letter_of(number))
        reason = why_not_paired(read[0], other)
        if reason:
            not_paired.append(f"{names[1]} and {names[0]}: {reason}")
        else:
            assert read[0].evaluation is not None
            assert other.evaluation is not None
            evaluations = (read[0].evaluation, other.evaluation)
            pairs.append(_pair(evaluations, names, place_of(evaluations[0]), pictures))
    return Comparison(
        runs=[_run_row(letter_of(i), files) for i, files in enumerate(read)],
        columns=COLUMNS,
        settings=differing_settings([files.settings for files in read]),
        pairs=pairs,
        not_paired=not_paired,
    )


def differing_settings(settings: Sequence[FinetuneSettings]) -> list[tuple[str, list[str]]]:
    """Return the settings that are not the same in all runs, with the value of each."""
    rows = []
    for name in FinetuneSettings.__struct_fields__:
        values = [str(getattr(one, name)) for one in settings]
        if len(set(values)) > 1 and name not in SAME_RESULT:
            rows.append((name, values))
    return rows


def why_not_paired(first: RunFiles, other: RunFiles) -> str:
    """Return why two runs can't be compared image by image; empty where they can."""
    evaluations = (first.evaluation, other.evaluation)
    for files, found in zip((first, other), evaluations, strict=True):
        if found is None:
            return f"{files.name} is not evaluated: {files.evaluate_command}"
    one, two = (found for found in evaluations if found is not None)
    if one.classes != two.classes or one.multi_label != two.multi_label:
        return "their classes differ"
    if one.file.data_sha256 and one.file.data_sha256 == two.file.data_sha256:
        return "" if len(one.file.results) == len(two.file.results) else "one is not whole"
    known = [[(r.file, label_words(r)) for r in found.file.results] for found in (one, two)]
    if known[0] != known[1] or (one.file.data_sha256 and two.file.data_sha256):
        return "they were not evaluated on the same images"
    return ""


def _pair(
    evaluations: tuple[StoredEvaluation, StoredEvaluation],
    names: tuple[str, str],
    place: Path | None,
    pictures: Pictures,
) -> Pair:
    first, other = evaluations
    only_first, only_other = first.right & ~other.right, other.right & ~first.right
    lost, gained = int(only_first.sum()), int(only_other.sum())
    p, images = mcnemar_p(lost, gained), len(first.right)

    def shown(chosen: NDArray[np.bool_], wrong_one: StoredEvaluation) -> list[ImageOfTwo]:
        rows = np.flatnonzero(chosen)
        certain = rows[np.argsort(-wrong_one.confidence[rows], kind="stable")][:MOST_SHOWN]
        return [_image(wrong_one, int(row), place, pictures) for row in certain]

    classes = [
        (one.label, one.images, one.f1, two.f1)
        for one, two in zip(first.file.per_class, other.file.per_class, strict=True)
        if one.images
    ]
    return Pair(
        first=names[0],
        other=names[1],
        images=images,
        both_right=int((first.right & other.right).sum()),
        both_wrong=int((~first.right & ~other.right).sum()),
        only_first=lost,
        only_other=gained,
        p=p,
        verdict=verdict(names, lost, gained, images),
        first_right=shown(only_first, other),
        other_right=shown(only_other, first),
        classes=sorted(classes, key=lambda row: -abs(row[2] - row[3])),
    )


def verdict(names: tuple[str, str], lost: int, gained: int, images: int) -> str:
    """Return what the paired test says, in one sentence.

    >>> verdict(("A", "B"), 1, 12, 100)
    'B is better: chance alone would make such a difference in 0.3 of 100 comparisons.'
    """
    if not can_show_a_difference(images):
        return f"{images} images are too few to show that one is better."
    p = mcnemar_p(lost, gained)
    if p > SIGNIFICANT:
        return (
            "They do not show that one is better: chance alone would make such a "
            f"difference in {100 * p:.0f} of 100 comparisons."
        )
    better = names[1] if gained > lost else names[0]
    often = f"{100 * p:.1f} of 100" if p >= 0.001 else "fewer than 1 of 1000"
    return f"{better} is better: chance alone would make such a difference in {often} comparisons."


def _image(
    wrong_one: StoredEvaluation, row: int, place: Path | None, pictures: Pictures
) -> ImageOfTwo:
    result = wrong_one.file.results[row]
    src = None if place is None else pictures.thumbnail(place / result.file)
    return ImageOfTwo(src, result.file, label_words(result), answer_words(result))


def _run_row(letter: str, files: RunFiles) -> RunRow:
    found, evaluation = measured(files), files.evaluation
    bar = accuracy = on = None
    if found is not None:
        accuracy = percent(found.accuracy)
        interval = f"{percent(found.low)} to {percent(found.high)}"
        on = f"{interval}, {found.images} {split_words(found.split)}"
        bar = interval_bar(found.accuracy, found.low, found.high, on)
    file = None if evaluation is None else evaluation.file
    summary = files.summary or {}
    loss = file.loss if file else summary.get("val_loss")
    figures = [
        _percent_or_dash(file.macro_f1 if file else summary.get("val_macro_f1")),
        _number_or_dash(file.auc if file else summary.get("val_auc")),
        _number_or_dash(loss),
        _percent_or_dash(file.calibration_error if file else None),
        *(_tile_words(tile) for tile in answer(files).tiles[1:]),
    ]
    return RunRow(
        letter, files.name, str(files.folder.path), accuracy or "–", bar, on or "", figures
    )


def _tile_words(tile: Tile) -> str:
    return "–" if tile.tone == "unsure" else tile.value


def _percent_or_dash(value: object) -> str:
    return percent(float(value)) if isinstance(value, int | float) else "–"


def _number_or_dash(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "–"
