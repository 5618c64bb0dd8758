"""Predicts many images in batches, on the session that is faster for them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ImageError, ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.image.decode import ImageSource
from toolchain.runtime.image.read import image_name
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.runtime.prediction import Prediction, predictions_of
from toolchain.runtime.selftest import generated_pixels
from toolchain.runtime.stream import in_order

UNMEASURED_IMAGES = 32
"""Which session is faster is measured after this many images: it takes 0.4 s."""

BatchResult = Prediction | ImageError | ModelFileError
"""The result of one image; a ModelFileError is raised when it is its turn."""
Finished = Callable[[Prediction, object], Prediction]
"""Returns the prediction of an image, or raises ModelFileError."""


class OnePredictor(Protocol):
    """What is used of a Predictor."""

    @property
    def card(self) -> Card:
        """The card of the model."""

    def __call__(self, image: ImageSource) -> Prediction:
        """Return the prediction of one image."""

    def pixels(self, image: ImageSource) -> NDArray[np.uint8]:
        """Return the pixels of one image."""

    def run(self, pixels: NDArray[np.uint8]) -> ModelOutputs:
        """Return the outputs for a batch of pixels."""

    def close(self) -> None:
        """Free the session."""


class ManyImages:
    """Streams of predictions of one predictor, and what was measured for them."""

    def __init__(self) -> None:
        self.measured = False
        self.single_threaded: OnePredictor | None = None
        """The same model on a session of one thread, where that is faster for many images."""

    def stream(
        self,
        predictor: OnePredictor,
        images: Iterator[ImageSource],
        *,
        batch_size: int,
        workers: int,
        on_cpu: bool,
        one_thread: Callable[[], OnePredictor],
        finished: Finished,
    ) -> Generator[Prediction | ImageError, None, None]:
        """Yield the result of each image, in order; see `Predictor.predict_many`.

        `one_thread` opens the same model on a session of one thread, `finished` returns a
        prediction or raises the ModelFileError of its numbers.
        """

        def results(
            some: Iterable[ImageSource], on: OnePredictor
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
        self, predictor: OnePredictor, one_thread: Callable[[], OnePredictor], workers: int
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
    predictor: OnePredictor, finished: Finished, images: Iterable[ImageSource]
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


def _one_at_a_time(predictor: OnePredictor, image: ImageSource) -> BatchResult:
    try:
        return predictor(image)
    except (ImageError, ModelFileError) as error:
        return error


def _pixels_or_error(predictor: OnePredictor, image: Any) -> NDArray[np.uint8] | ImageError:
    try:
        return predictor.pixels(image)
    except ImageError as error:
        return error
