"""Images from Python: label them with a model file, or check a data set of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from toolchain.api.arguments import (
    Count,
    Location,
    OnError,
    Progress,
    path_texts,
    require_valid,
)
from toolchain.progress_bar import progress_reporter
from toolchain.runs.settings import SettingsError
from toolchain.runtime.card import Task

if TYPE_CHECKING:
    from toolchain.data.audit import Audit
    from toolchain.prediction.inputs import InputImage
    from toolchain.prediction.predictions import Predictions
    from toolchain.prediction.rows import PredictionRows
    from toolchain.runtime.predictor import Predictor


def predict(
    model: Location | Predictor,
    inputs: Location | Sequence[Location] = (),
    *,
    files_from: Location | Sequence[Location] = (),
    provider: str = "cpu",
    threads: int | None = None,
    batch_size: int = 8,
    workers: int | None = None,
    on_error: OnError = "continue",
    cache: bool = True,
    progress: Progress = None,
) -> Predictions:
    """Label images with a model file; needs no torch (`rtl predict`).

    `model` is a file, or a Predictor that is open already, whose provider, threads and cache then
    hold. `inputs` are image files, folders, and patterns such as `photos/**/*.jpg`; `files_from`
    are files with a path a line. `workers` is how many images are under way at once, by default one
    for each core. For images that are not in files, and for more than fit into memory as results,
    use `Predictor` and its `predict_many`.

    Returns (file name, Prediction) for each image, in order; one that can't be read has an
    ImageError in its place, and so has a folder without images. With `on_error="fail"` the first
    ImageError is raised. Raises ModelFileError or ProviderError for a model that can't be opened,
    SettingsError.

    >>> import toolchain as rtl
    >>> [(name, prediction)] = rtl.predict(model, photo)
    >>> prediction.label in prediction.classes
    True
    """
    require_valid(
        threads=(threads, Count | None),
        batch_size=(batch_size, Count),
        workers=(workers, Count | None),
        on_error=(on_error, OnError),
    )
    words, lists = path_texts(inputs), path_texts(files_from)
    if not (words or lists):
        raise SettingsError("inputs: none is given, nor files_from")
    from toolchain.runtime.predictor import Predictor

    if isinstance(model, Predictor):
        return _predict(model, words, lists, batch_size, workers, on_error, progress)
    with Predictor(model, provider=provider, threads=threads, cache=cache) as predictor:
        return _predict(predictor, words, lists, batch_size, workers, on_error, progress)


def _predict(
    predictor: Predictor,
    words: Sequence[str],
    lists: Sequence[str],
    batch_size: int,
    workers: int | None,
    on_error: OnError,
    progress: Progress,
) -> Predictions:
    from toolchain.prediction.predict import predict as story
    from toolchain.prediction.predict import predict_here
    from toolchain.prediction.predictions import Predictions
    from toolchain.prediction.sinks import InMemory

    sink, reporter = InMemory(), progress_reporter(progress)

    def compute(images: Iterable[InputImage]) -> PredictionRows:
        total = _count_images(words, lists) if progress else 0
        with contextlib.closing(predict_here(predictor, batch_size, workers, images)) as rows:
            yield from reporter.track(rows, "predicting", total)

    summary = story(
        predictor, words, files_from=lists, sink=sink, on_error=on_error, compute=compute
    )
    # A folder without images has no row of its own, and must not be lost.
    not_found = [(str(error).partition(": ")[0], error) for error in summary.not_found]
    return Predictions([*sink.rows, *not_found], predictor.card.task)


def _count_images(words: Sequence[str], lists: Sequence[str]) -> int:
    from toolchain.prediction.inputs import Inputs

    return Inputs(words, lists).count() or 0


def check_data(data: Location, *, task: Task = "single-label", progress: Progress = None) -> Audit:
    """Read every image of a data set and list what would hurt training (`rtl data check`).

    Nothing is written. Returns the images of each class and split, the files that can't be read,
    those with the same bytes in two splits or with different classes, and rare classes. Raises
    DataError for a folder that can't be used, SettingsError.

    >>> import toolchain as rtl
    >>> rtl.check_data(data).per_class["down"]
    {'train': 16, 'val': 8, 'test': 0}
    """
    require_valid(task=(task, Task))
    from toolchain.data.audit import audit_dataset
    from toolchain.data.layouts import read_dataset

    dataset = read_dataset(os.fspath(data), task)
    _, audit = audit_dataset(dataset, progress_reporter(progress))
    return audit
