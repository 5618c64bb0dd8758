"""`rtl predict`: images → a prediction or an error for each, in order, written to a sink."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from toolchain.data.left_out import LeftOut
from toolchain.errors import ImageError
from toolchain.prediction.inputs import InputImage, Inputs
from toolchain.prediction.rows import PredictionRows
from toolchain.prediction.sinks import Sink
from toolchain.runtime.predictor import Predictor

FIRST_FAILURES = 10
"""How many failed images a summary names; it counts all of them."""

Compute = Callable[[Iterable[InputImage]], PredictionRows]
"""Computes the rows of images; `Cluster.predict` is one, and `predict_here` with its options."""


class PredictionProgress(Protocol):
    """Shows how many images are done."""

    def counting(self, count_images: Callable[[], int | None]) -> AbstractContextManager[object]:
        """Show progress during a `with` block.

        `count_images` returns how many images there are, or None where that is not known. It
        searches through all inputs, so it is called only where the number is shown.
        """

    def advance(self) -> None:
        """Count one image."""


class NoProgress:
    """Shows nothing."""

    def counting(self, count_images: Callable[[], int | None]) -> AbstractContextManager[object]:
        """Return a context manager that does nothing."""
        return nullcontext()

    def advance(self) -> None:
        """Do nothing."""


class PredictionSummary(msgspec.Struct):
    """What `predict` did. Rows that were in a file before count in `images` and `failed`."""

    images: int = 0
    """Images with a row."""
    failed: int = 0
    """Those among them that can't be read."""
    failures: list[ImageError] = msgspec.field(default_factory=list)
    """The first ten of them; without those of earlier rows, of which only the text is known."""
    not_found: list[ImageError] = msgspec.field(default_factory=list)
    """Folders that can't be listed, and inputs without any image. They have no row."""
    left_out: tuple[LeftOut, ...] = ()
    """What was seen in folders and passed over, counted by kind and reason. It has no row."""
    already_there: int = 0
    """Rows that the sink had before."""
    added: int = 0
    """Rows that were written now."""
    seconds: float = 0.0
    """The whole time, with opening the model where `predict` opened it."""


def predict(
    model: str | os.PathLike[str] | Predictor,
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    sink: Sink,
    files_from: Iterable[str | os.PathLike[str]] = (),
    batch_size: int = 8,
    workers: int | None = None,
    null: bool = False,
    on_error: Literal["continue", "fail"] = "continue",
    progress: PredictionProgress | None = None,
    compute: Compute | None = None,
) -> PredictionSummary:
    """Predict the images that `inputs` name and write a row for each to the sink.

    `inputs` are image files, folders, patterns, and `-` for an image on standard input;
    `files_from` are lists of paths, with `null` each ended by a zero byte. Images that the sink has
    a row of already are skipped. With `on_error="fail"` the first image that can't be read raises
    its ImageError and has no row. `compute` replaces the computation in this process, by
    `Cluster.predict` for example; `batch_size` and `workers` are then not used.

    Raises what opening the model raises, and DataError for inputs and sinks that can't be used.

    >>> sink = InMemory()                                                    # doctest: +SKIP
    >>> predict("model.onnx", ["photos/"], sink=sink).images                 # doctest: +SKIP
    2
    >>> [(name, result.label) for name, result in sink.rows]                 # doctest: +SKIP
    [('photos/0.png', 'across'), ('photos/1.png', 'down')]
    """
    started = time.monotonic()
    progress = progress or NoProgress()
    summary = PredictionSummary()
    with opened(model) as predictor:
        images = Inputs(_texts(inputs), _texts(files_from), null=null)
        compute = compute or partial(predict_here, predictor, batch_size, workers)
        with (
            sink.open(predictor),
            progress.counting(partial(_count_left, images, sink)),
            closing(compute(_left(images, sink))) as rows,
        ):
            for name, result in rows:
                if isinstance(result, ImageError):
                    _add_failure(summary, result, on_error)
                sink.write(name, result)
                summary.added += 1
                progress.advance()
    summary.images = summary.added
    if sink.earlier is not None:
        summary.already_there = sink.earlier.rows
        summary.images += sink.earlier.rows
        summary.failed += sink.earlier.failed
    summary.not_found, summary.left_out = images.not_found, images.left_out
    summary.seconds = time.monotonic() - started
    return summary


def predict_here(
    predictor: Predictor, batch_size: int, workers: int | None, images: Iterable[InputImage]
) -> PredictionRows:
    """Yield the rows of images, computed by threads of this process."""
    names: deque[str] = deque()

    def sources() -> Iterator[Path | bytes]:
        for name, source in images:
            names.append(name)
            yield source

    many = predictor.predict_many(sources(), batch_size=batch_size, workers=workers)
    with closing(many) as results:
        for result in results:
            yield names.popleft(), result


@contextmanager
def opened(model: str | os.PathLike[str] | Predictor) -> Iterator[Predictor]:
    """Yield the predictor; one that is opened here is closed at the end."""
    if isinstance(model, Predictor):
        yield model
        return
    with Predictor(model) as predictor:
        yield predictor


def _texts(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return paths as texts; a single path is a list of one."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    return [os.fspath(path) for path in paths]


def _left(images: Inputs, sink: Sink) -> Iterable[InputImage]:
    """Return the images that the sink has no row of."""
    earlier = sink.earlier
    if earlier is None:
        return images
    return (image for image in images if not earlier.take(image.name))


def _count_left(images: Inputs, sink: Sink) -> int | None:
    total = images.count()
    there = sink.earlier.rows if sink.earlier is not None else 0
    return max(0, total - there) if total else None


def _add_failure(summary: PredictionSummary, failure: ImageError, on_error: str) -> None:
    if on_error == "fail":
        raise failure
    summary.failed += 1
    if len(summary.failures) < FIRST_FAILURES:
        summary.failures.append(failure)
