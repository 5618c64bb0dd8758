"""The predictor that an app embeds: it opens a model file and predicts images."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.errors import ImageError, ModelFileError, ParityError
from toolchain.runtime.card import OUTPUT_NAMES
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.image.decode import MAX_PIXELS, ImageSource, read_image
from toolchain.runtime.image.preprocess import preprocess, require_resizable
from toolchain.runtime.model_inputs import ModelOutputs, run_on_pixels
from toolchain.runtime.openmodel import OpenModel
from toolchain.runtime.option_checks import count_option, switch_option
from toolchain.runtime.prediction import Prediction
from toolchain.runtime.selftest import generated_pixels, proof_difference, proof_tolerance
from toolchain.runtime.session import readable_reason

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

UNMEASURED_IMAGES = 32
"""`predict_many` measures which session is faster after this many images: it takes 0.4 s."""


class Predictor:
    """A model file, opened on one provider.

    `provider` is "cpu", "cuda" or any name onnxruntime knows; it is used or an error is raised,
    never replaced. `threads` defaults to the cores this process may use; with `spin` they wait for
    work in a busy loop instead of sleeping, which is faster only where nothing else needs the
    cores. `cache=False` does not use the model cache. Images of more than `max_pixels` are refused
    before they are decoded. `self_test=True` checks the proof in the card before the first
    prediction.

    Any number of threads may share a predictor. A forked process opens the file again. A predictor
    pickles to the path of its file and its options, and a copy opens the file a second time.

    Raises ModelFileError, ProviderError or MissingExtraError, ParityError from the self test, and
    TypeError or ValueError for an option of another type or a number below 1.

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
        self._own_options: dict[str, Any] = {
            "max_pixels": count_option("max_pixels", max_pixels),
            "self_test": switch_option("self_test", self_test),
        }
        self._open_model = OpenModel(
            model, provider=provider, threads=threads, spin=spin, cache=cache
        )
        self.model, self.card = self._open_model.model, self._open_model.card
        self._provider, self._threads = provider, self._open_model.options["threads"]
        self._measured = False
        self._single_threaded: Predictor | None = None
        """The same model on a session of one thread, where that is faster for many images."""
        if self_test:
            self._require_proof()

    @property
    def session(self) -> InferenceSession:
        """The onnxruntime session, on as many threads as the predictor was opened with.

        It is another object after a fork. Raises ValueError when the predictor is closed, and
        ModelFileError where a forked process finds the file changed.
        """
        return self._open_model.session

    @property
    def single_threaded(self) -> bool:
        """Whether `predict_many` computes each batch on one thread, which it found to be faster.

        False until it has measured, after its first 32 images.
        """
        return self._single_threaded is not None

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in the order of the outputs."""
        return self.card.classes

    def __call__(self, image: ImageSource) -> Prediction:
        """Predict one image: a path, bytes, file object, PIL image or uint8 RGB array [H, W, 3].

        Raises ImageError for an image that can't be read.
        """
        if self.card.input == "image":
            return self._predictions(self.compute(self._whole_image(image)))[0]
        return self.predict_pixels(self.pixels(image)[None])[0]

    def predict_many(
        self, images: Iterable[ImageSource], *, batch_size: int = 8, workers: int | None = None
    ) -> Generator[Prediction | ImageError, None, None]:
        """Yield the prediction of each image, in order; an ImageError where one can't be read.

        `images` may be of any length: at most a few batches are taken from it ahead of the results.
        `workers` threads, by default one for each core, decode and compute batches of `batch_size`
        images at once. They share this predictor's session or a second one of a single thread; a
        short measurement after the first images decides. An error that `images` raises is raised
        after the results of the images before it. Close the iterator to stop early.

        Raises ValueError for a `batch_size` or `workers` below 1, TypeError for no integer.

        >>> first, second = predictor.predict_many([photo, b"no image"])
        >>> first.label in predictor.classes, type(second).__name__
        (True, 'ImageError')
        """
        batch_size = count_option("batch_size", batch_size)
        workers = self._threads if workers is None else count_option("workers", workers)
        return self._stream(iter(images), batch_size, workers or usable_cores())

    def pixels(self, image: ImageSource) -> NDArray[np.uint8]:
        """Return an image resized and cropped to the network's size, uint8 RGB [size, size, 3].

        Raises ImageError for an image that can't be read.

        >>> predictor.pixels(photo).shape
        (64, 64, 3)
        """
        return preprocess(self._read(image), self.card.preprocessing)

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> list[Prediction]:
        """Predict a batch of pixels uint8 [batch, size, size, 3], as `pixels` returns them."""
        return self._predictions(self.run(pixels))

    def run(self, pixels: NDArray[np.uint8]) -> ModelOutputs:
        """Return (probabilities, logits), each float32 [batch, classes], of a batch of pixels.

        Raises ImageError for pixels of another shape or dtype, and ModelFileError where the model
        can't compute.

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
        return ModelOutputs(*run_on_pixels(self.compute, pixels, self.card))

    def compute(self, graph_input: NDArray[Any]) -> ModelOutputs:
        """Run the graph once on its own input; see `toolchain.runtime.model_inputs`.

        Return (probabilities, logits), each float32 [batch, classes]. Raises ModelFileError where
        the model can't compute.
        """
        session = self._open_model.session
        try:
            probabilities, logits = session.run(OUTPUT_NAMES, {self.card.input: graph_input})
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelFileError(
                f"{self.model} can't compute {self._described(graph_input)}: "
                f"{readable_reason(str(error))}"
            ) from error
        expected = (1 if self.card.input == "image" else len(graph_input), len(self.classes))
        if not probabilities.shape == logits.shape == expected:
            raise ModelFileError(
                f"{self.model} gives outputs of shape {probabilities.shape} and {logits.shape} "
                f"for {self._described(graph_input)}, not {expected}",
                hint="the card does not belong to this model; export it again",
            )
        return ModelOutputs(probabilities, logits)

    def close(self) -> None:
        """Free the session; the predictor can't be used after this. A second call does nothing."""
        self._open_model.close()
        if self._single_threaded is not None:
            self._single_threaded.close()

    def __reduce__(self) -> tuple[partial[Predictor], tuple[()]]:
        """Pickle to the path of the file and the options. Raises ValueError when it is closed."""
        self._open_model.require_open()
        return partial(
            type(self), str(self._open_model.path), **self._open_model.options, **self._own_options
        ), ()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        count = f"{len(self.classes)} classes"
        return f"{type(self).__name__}({self.model!r}, provider={self._provider!r}, {count})"

    def _predictions(self, outputs: ModelOutputs) -> list[Prediction]:
        return [
            Prediction(self.classes, p, row, self.card.threshold, self.card.task)
            for p, row in zip(*outputs, strict=True)
        ]

    def _described(self, graph_input: NDArray[Any]) -> str:
        single = self.card.input == "image" or len(graph_input) == 1
        return "an image" if single else f"{len(graph_input)} images"

    def _read(self, image: ImageSource) -> Image.Image:
        return read_image(
            image, self.card.preprocessing, max_pixels=self._own_options["max_pixels"]
        )

    def _whole_image(self, image: ImageSource) -> NDArray[np.uint8]:
        """Return uint8 [height, width, 3], for a graph that resizes and crops by itself."""
        decoded = self._read(image)
        require_resizable(decoded.size, self.card.preprocessing)
        return np.asarray(decoded)

    def _stream(
        self, images: Iterator[ImageSource], batch_size: int, workers: int
    ) -> Generator[Prediction | ImageError, None, None]:
        from toolchain.runtime.stream import in_order  # here, so that a first prediction is quick

        def results(
            predictor: Predictor, some: Iterable[ImageSource]
        ) -> Iterator[Prediction | ImageError]:
            work = predictor._predict_batch
            return in_order(work, some, batch_size=batch_size, workers=workers)

        if not self._measured:
            yield from results(self, islice(images, UNMEASURED_IMAGES))
        for image in images:  # runs once at most: the rest is consumed inside
            yield from results(self._fastest(workers), chain([image], images))

    def _fastest(self, workers: int) -> Predictor:
        """Return this predictor or its single-threaded copy, whichever has the higher throughput.

        They are measured in the first call.
        """
        if not self._measured and workers > 1 and self._provider.lower() == "cpu":
            from toolchain.runtime.autotune import fastest

            options = self._open_model.options | self._own_options
            copy = Predictor(
                self._open_model.path, **(options | {"threads": 1, "self_test": False})
            )
            pixels = generated_pixels(self.card.preprocessing.size)[:1]
            calls = [partial(predictor.run, pixels) for predictor in (copy, self)]
            if fastest(calls, workers=workers) == 0:
                self._single_threaded = copy
            self._measured = True
        return self._single_threaded or self

    def _predict_batch(self, images: Iterable[ImageSource]) -> list[Prediction | ImageError]:
        if self.card.input == "image":
            return [self._predict_or_error(image) for image in images]
        read = [self._pixels_or_error(image) for image in images]
        readable = [item for item in read if not isinstance(item, ImageError)]
        predictions = iter(self.predict_pixels(np.stack(readable)) if readable else [])
        return [item if isinstance(item, ImageError) else next(predictions) for item in read]

    def _predict_or_error(self, image: ImageSource) -> Prediction | ImageError:
        try:
            return self(image)
        except ImageError as error:
            return error

    def _pixels_or_error(self, image: ImageSource) -> NDArray[np.uint8] | ImageError:
        try:
            return self.pixels(image)
        except ImageError as error:
            return error

    def _require_proof(self) -> None:
        proof = self.card.proof
        if proof is None:
            raise ParityError(f"the card of {self.model} holds no proof to repeat")
        _, logits = self.run(generated_pixels(self.card.preprocessing.size))
        difference = proof_difference(proof, logits)
        tolerance = proof_tolerance(proof, self.card.precision)
        if not difference <= tolerance:
            raise ParityError(
                f"{self.model} does not compute what its card says: "
                f"difference {difference:.2g}, accepted {tolerance:.2g}",
                hint="the file or this onnxruntime has changed; rtl verify shows more",
            )
