"""What an app embeds: a model file, opened, that turns images into predictions."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.errors import ImageError, ModelFileError, ParityError
from toolchain.runtime.card import Card
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.image.decode import MAX_PIXELS, ImageSource, read_image
from toolchain.runtime.image.preprocess import preprocess, require_room
from toolchain.runtime.model_inputs import Floats, ModelOutputs, run_on_pixels
from toolchain.runtime.openmodel import OpenModel
from toolchain.runtime.prediction import Prediction
from toolchain.runtime.selftest import generated_pixels, proof_difference
from toolchain.runtime.session import readable_reason

OUTPUTS = ["probabilities", "logits"]
FEW = 32
"""So many images are done before it is worth measuring how the rest is done fastest."""


class Predictor:
    """A model file, opened on one provider.

    `provider` is "cpu", "cuda" or any name onnxruntime knows; it is used or an error is raised,
    never replaced. `threads` defaults to the cores this process may use; with `spin` they ask for
    work all the time instead of sleeping, which is faster only where the cores are theirs alone.
    `cache=False` goes without the engine cache. Images of more than `max_pixels` are refused before
    they are decoded. `self_test=True` repeats the proof in the card before the first prediction.

    Any number of threads may share a predictor. In a process that was forked it opens its file
    again; it pickles to the path of its file and its options, and a copy is one of its own.

    Raises ModelFileError, ProviderError or MissingExtraError, and ParityError from the self test.

    >>> from toolchain import Predictor
    >>> with Predictor(model, threads=1) as predictor:
    ...     prediction = predictor(photo)
    >>> prediction.label in predictor.classes
    True
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        provider: str = "cpu",
        threads: int | None = None,
        spin: bool = False,
        cache: bool = True,
        max_pixels: int = MAX_PIXELS,
        self_test: bool = False,
    ) -> None:
        self.model = os.fspath(model)
        self._open = OpenModel(model, provider=provider, threads=threads, spin=spin, cache=cache)
        self.card: Card = self._open.card
        self._provider, self._threads = provider, threads
        self._own: dict[str, Any] = {"max_pixels": max_pixels, "self_test": self_test}
        self._measured = False
        self._twin: Predictor | None = None
        """The same on a session of one thread, where that is faster for many images."""
        if self_test:
            self._require_proof()

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in the order of the outputs."""
        return self.card.classes

    def __call__(self, image: ImageSource) -> Prediction:
        """Predict one image: a path, bytes, file object, PIL image or uint8 RGB array [H, W, 3].

        Raises ImageError for an image that can't be read.
        """
        if self.card.input == "image":
            return self._predictions(self.compute(self._upright(image)))[0]
        return self.predict_pixels(self.pixels(image)[None])[0]

    def predict_many(
        self, images: Iterable[ImageSource], *, batch_size: int = 8, workers: int | None = None
    ) -> Generator[Prediction | ImageError, None, None]:
        """Predict images as they come, in order; one that can't be read gives its error instead.

        Several threads decode and compute at once, and no more than a few batches are taken from
        `images` ahead of what is given, so there may be a million of them. `workers` is how many
        threads, by default one for each core; they share this session or one of a single thread,
        which a short measurement after the first images decides. An error that `images` raises
        comes after the results of what was before it. Close the iterator to stop early.

        >>> first, second = predictor.predict_many([photo, b"no image"])
        >>> first.label in predictor.classes, type(second).__name__
        (True, 'ImageError')
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        return self._stream(iter(images), batch_size, workers or self._threads or usable_cores())

    def pixels(self, image: ImageSource) -> NDArray[np.uint8]:
        """Return the pixels uint8 [size, size, 3] that the network sees of an image.

        >>> predictor.pixels(photo).shape
        (64, 64, 3)
        """
        return preprocess(self._read(image), self.card.preprocessing)

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> list[Prediction]:
        """Predict a batch of pixels uint8 [batch, size, size, 3], as `pixels` gives them."""
        return self._predictions(self.run(pixels))

    def run(self, pixels: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Return (probabilities, logits), each float32 [batch, classes], of a batch of pixels.

        Raises ImageError for pixels of another shape, ModelFileError where the model can't compute.

        >>> probabilities, logits = predictor.run(predictor.pixels(photo)[None])
        >>> probabilities.shape
        (1, 3)
        """
        size = self.card.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3):
            raise ImageError(
                f"pixels: {pixels.dtype} of shape {pixels.shape}",
                hint=f"this model takes uint8 [batch, {size}, {size}, 3]",
            )
        probabilities, logits = run_on_pixels(self.compute, pixels, self.card)
        return probabilities, logits

    def compute(self, given: NDArray[Any]) -> ModelOutputs:
        """Run the graph once, on exactly what it takes; see `toolchain.runtime.model_inputs`.

        Raises ModelFileError where the model can't compute.
        """
        session = self._open.session
        try:
            probabilities, logits = session.run(OUTPUTS, {self.card.input: given})
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelFileError(
                f"{self.model} can't compute {self._words(given)}: {readable_reason(str(error))}"
            ) from error
        expected = (1 if self.card.input == "image" else len(given), len(self.classes))
        if not probabilities.shape == logits.shape == expected:
            raise ModelFileError(
                f"{self.model} gives outputs of shape {probabilities.shape} and {logits.shape} "
                f"for {self._words(given)}, not {expected}",
                hint="the card does not belong to this model; export it again",
            )
        return probabilities, logits

    def close(self) -> None:
        """Free the session; the predictor can't be used after this. Closing twice is harmless."""
        self._open.close()
        if self._twin is not None:
            self._twin.close()

    def __reduce__(self) -> tuple[partial[Predictor], tuple[()]]:
        """Pickle to the path of the file and the options; ValueError when it is closed."""
        self._open.require_open()
        return partial(type(self), str(self._open.path), **self._open.options, **self._own), ()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _predictions(self, outputs: ModelOutputs) -> list[Prediction]:
        return [
            Prediction(self.classes, p, row, self.card.threshold, self.card.task)
            for p, row in zip(*outputs, strict=True)
        ]

    def _words(self, given: NDArray[Any]) -> str:
        alone = self.card.input == "image" or len(given) == 1
        return "an image" if alone else f"{len(given)} images"

    def _read(self, image: ImageSource) -> Image.Image:
        return read_image(image, self.card.preprocessing, max_pixels=self._own["max_pixels"])

    def _upright(self, image: ImageSource) -> NDArray[np.uint8]:
        """Return an image as a graph takes it that resizes and crops by itself."""
        upright = self._read(image)
        require_room(upright.size, self.card.preprocessing)
        return np.asarray(upright)

    def _stream(
        self, images: Iterator[ImageSource], batch_size: int, workers: int
    ) -> Generator[Prediction | ImageError, None, None]:
        from toolchain.runtime.stream import in_order  # here: a first prediction has to be quick

        def ordered(
            work: Predictor, some: Iterable[ImageSource]
        ) -> Iterator[Prediction | ImageError]:
            return in_order(work._predict_batch, some, batch_size=batch_size, workers=workers)

        if not self._measured:
            yield from ordered(self, islice(images, FEW))
        for image in images:  # where there are more: the first of the rest, all of which follow
            yield from ordered(self._fastest(workers), chain([image], images))

    def _fastest(self, workers: int) -> Predictor:
        """Return this predictor, or its twin where that gets more done; measured once."""
        if not self._measured and workers > 1 and self._provider.lower() == "cpu":
            from toolchain.runtime.autotune import fastest

            options = self._open.options | self._own | {"threads": 1, "self_test": False}
            twin = Predictor(self._open.path, **options)
            pixels = generated_pixels(self.card.preprocessing.size)[:1]
            ways = [partial(target.run, pixels) for target in (twin, self)]
            if fastest(ways, workers=workers) == 0:
                self._twin = twin
            self._measured = True
        return self._twin or self

    def _predict_batch(self, images: Iterable[ImageSource]) -> list[Prediction | ImageError]:
        if self.card.input == "image":
            return [self._predict_alone(image) for image in images]
        read: list[NDArray[np.uint8] | ImageError] = []
        for image in images:
            try:
                read.append(self.pixels(image))
            except ImageError as error:
                read.append(error)
        good = [item for item in read if not isinstance(item, ImageError)]
        predictions = iter(self.predict_pixels(np.stack(good)) if good else [])
        return [item if isinstance(item, ImageError) else next(predictions) for item in read]

    def _predict_alone(self, image: ImageSource) -> Prediction | ImageError:
        try:
            return self(image)
        except ImageError as error:
            return error

    def _require_proof(self) -> None:
        proof = self.card.proof
        if proof is None:
            raise ParityError(f"the card of {self.model} holds no proof to repeat")
        _, logits = self.run(generated_pixels(self.card.preprocessing.size))
        difference = proof_difference(proof, logits)
        if not difference <= proof.tolerance:
            raise ParityError(
                f"{self.model} does not compute what its card says: "
                f"difference {difference:.2g}, accepted {proof.tolerance:.2g}",
                hint="the file or this onnxruntime has changed; rtl verify shows more",
            )
