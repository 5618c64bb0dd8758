"""Photographs as the templates show them, with what the model said of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from toolchain.display import percent
from toolchain.evaluation.image_results import ImageResult
from toolchain.reporting.images.pictures import Pictures
from toolchain.reporting.reading.outcomes import Outcome
from toolchain.reporting.reading.stored_evaluation import StoredEvaluation

MOST_LISTED = 400
"""Images of a group that are listed; evaluation.json has all."""


class Photo(NamedTuple):
    """One evaluated image."""

    src: str | None
    file: str
    label: str
    answer: str
    probability: str
    right: bool


class Group(NamedTuple):
    """The images behind one cell."""

    key: str
    title: str
    images: int
    wrong: bool
    photos: Sequence[Photo]
    more: int


def label_words(result: ImageResult) -> str:
    """Return the true classes of an image as text."""
    return (result.label or "") if result.labels is None else ", ".join(result.labels) or "none"


def answer_words(result: ImageResult) -> str:
    """Return the predicted classes of an image as text."""
    if result.predicted_labels is None:
        return result.predicted or ""
    return ", ".join(result.predicted_labels) or "none"


def probability_words(result: ImageResult) -> str:
    """Return the probabilities of the predicted classes as text."""
    if result.probability is not None:
        return percent(result.probability)
    return ", ".join(map(percent, result.probabilities or ())) or "–"


def photo(
    evaluation: StoredEvaluation, row: int, path_of: Callable[[str], Path], pictures: Pictures
) -> Photo:
    """Return an evaluated image with its thumbnail."""
    result = evaluation.file.results[row]
    return Photo(
        src=pictures.thumbnail(path_of(result.file)),
        file=result.file,
        label=label_words(result),
        answer=answer_words(result),
        probability=probability_words(result),
        right=bool(evaluation.right[row]),
    )


def group(
    outcome: Outcome,
    evaluation: StoredEvaluation,
    path_of: Callable[[str], Path],
    pictures: Pictures,
    most: int,
) -> Group:
    """Return the images of a group; of right ones at most `most`."""
    listed = outcome.indices[: MOST_LISTED if outcome.wrong else most]
    photos = [photo(evaluation, int(row), path_of, pictures) for row in listed]
    count = len(outcome.indices)
    return Group(outcome.key, outcome.title, count, outcome.wrong, photos, count - len(photos))
