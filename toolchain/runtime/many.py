"""Predicts many images in batches, on the session that is faster for them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ImageError, ModelFileError
from toolchain.runtime.image.decode import ImageSource
from toolchain.runtime.image.read import image_name
from toolchain.runtime.prediction import Prediction, predictions_of
from toolchain.runtime.selftest import generated_pixels
from toolchain.runtime.stream import in_order

if TYPE_CHECKING:
    from toolchain.runtime.predictor import Predictor

UNMEASURED_IMAGES = 32
"""Which session is faster is measured after this many images: it takes 0.4 s."""

BatchResult = Prediction | ImageError | ModelFileError
"""The result of one image; a ModelFileError is raised when it is its turn."""
Finished = Callable[[Prediction, object], Prediction]
"""Returns the prediction of an image, or raises ModelFileError."""


class ManyImages:
    """Streams of predictions of one predictor, and what was measured for them."""

    def __init__(self) -> None:
        self.measured = False
        self.single_threaded: Predictor | None = None
        """The same model on a session of one thread, where that is faster for many images."""

    def stream(
        self,
        predictor: Predictor,
        images: Iterator[ImageSource],
        *,
        batch_size: int,
        workers: int,
        on_cpu: bool,
        one_thread: Callable[[], Predictor],
        finished: Finished,
    ) -> Generator[Prediction | ImageError, None, None]:
        """Yield the result of each image, in order; see `Predictor.predict_many`.

        `one_thread` opens the same model on a session of one thread, `finished` returns a
        prediction or raises the ModelFileError of its numbers.
        """

        def results(
            some: Iterable[ImageSource], on: Predictor
        ) -> Iterator[Prediction | ImageError]:
            work = partial(_predict_batch, on, finished)
            for result in in_order(work, some, batch_size=batch_size, workers=workers):
                if isinstance(result, ModelFileError):
                    raise result
                yield result

        if not self.measured:
            yield from results(islice(images, UNMEASURED_IMAGES), predictor)
        for image in images:  # runs once at most: the rest is consumed inside
            if not self.measured and workers > 1 and on_cpu:
                self._measure(predictor, one_thread, workers)
            yield from results(chain([image], images), self.single_threaded or predictor)

    def _measure(
        self, predictor: Predictor, one_thread: Callable[[], Predictor], workers: int
    ) -> None:
        """Measure whether a session of one thread has the higher throughput."""
        from toolchain.runtime.autotune import fastest

        self.measured = True
        try:
            single = one_thread()
        except ModelFileError:  # the file is gone; the session that is open has its bytes
            return
        pixels = generated_pixels(predictor.card.preprocessing.size)[:1]
        calls = [partial(candidate.run, pixels) for candidate in (single, predictor)]
        if fastest(calls, workers=workers) == 0:
            self.single_threaded = single

    def close(self) -> None:
        """Free the second session."""
        if self.single_threaded is not None:
            self.single_threaded.close()


def _predict_batch(
    predictor: Predictor, finished: Finished, images: Iterable[ImageSource]
) -> list[BatchResult]:
    """Return a result for each image."""
    if predictor.card.input == "image":
        return [_one_at_a_time(predictor, image) for image in images]
    names: list[str] = []
    read: list[NDArray[np.uint8] | ImageError] = []
    for image in images:
        names.append(image_name(image))
        read.append(_pixels_or_error(predictor, image))
    readable = [item for item in read if not isinstance(item, ImageError)]
    predictions = iter(
        predictions_of(predictor.card, predictor.run(np.stack(readable))) if readable else []
    )
    return [
        item if isinstance(item, ImageError) else _judged(finished, next(predictions), name)
        for item, name in zip(read, names, strict=True)
    ]


def _judged(finished: Finished, prediction: Prediction, name: str) -> Prediction | ModelFileError:
    try:
        return finished(prediction, name)
    except ModelFileError as error:
        return error


def _one_at_a_time(predictor: Predictor, image: ImageSource) -> BatchResult:
    try:
        return predictor(image)
    except (ImageError, ModelFileError) as error:
        return error


def _pixels_or_error(predictor: Predictor, image: Any) -> NDArray[np.uint8] | ImageError:
    try:
        return predictor.pixels(image)
    except ImageError as error:
        return error
