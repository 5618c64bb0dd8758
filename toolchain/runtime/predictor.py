"""The predictor that an app embeds: it opens a model file and predicts images."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.errors import ImageError, ModelFileError
from toolchain.runtime.card import OUTPUT_NAMES
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.image.decode import MAX_PIXELS, ImageSource, read_image
from toolchain.runtime.image.preprocess import preprocess, require_resizable
from toolchain.runtime.image.read import image_name
from toolchain.runtime.model_inputs import ModelOutputs, run_on_pixels
from toolchain.runtime.openmodel import OpenModel
from toolchain.runtime.option_checks import (
    choice_option,
    count_option,
    iterator_of_images,
    switch_option,
    threads_option,
)
from toolchain.runtime.prediction import Prediction, nonfinite_error, predictions_of
from toolchain.runtime.provider_names import computes_on_processor
from toolchain.runtime.selftest import require_proof
from toolchain.runtime.session import readable_reason

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from toolchain.runtime.engines.kept import EngineChoice
    from toolchain.runtime.many import ManyImages

OnNonfinite = Literal["raise", "keep"]
"""What becomes of outputs that are not finite numbers."""


class Predictor:
    """A model file, opened on one provider.

    `provider` is "cpu", "cuda", "openvino" or any name onnxruntime knows; it is used or an error is
    raised, never replaced. "auto" takes the fastest engine of this machine that answers as the
    references of the file say, and keeps the choice in the cache. `threads` defaults to the cores
    this process may use; with `spin` they wait for work in a busy loop instead of sleeping, which
    is faster only where nothing else needs the cores. `cache=False` does not use the model cache.
    Images of more than `max_pixels` are refused before they are decoded. `self_test=True` checks
    the proof in the card before the first prediction. `sha256` is the digest (64 hex digits) that
    the file must have. `on_nonfinite` says what becomes of outputs that are NaN or infinite:
    "raise" a ModelFileError, or "keep" them in a Prediction whose `finite` is False.

    Any number of threads may share a predictor. It is the bytes that it opened: a forked process
    opens them again, and raises ModelFileError where the file was written to meanwhile. A predictor
    pickles to path, options and digest of its file, and a copy opens the file a second time.

    Raises ModelFileError, ProviderError or MissingExtraError, ParityError from the self test, and
    TypeError or ValueError for an option of another type or out of its bounds.

    >>> from toolchain import Predictor
    >>> with Predictor(model, threads=1) as predictor:
    ...     prediction = predictor(photo)
    >>> prediction.label in predictor.classes
    True
    """

    has_sessions: ClassVar[bool] = True
    """Whether sessions of onnxruntime compute, of which one of a single thread may be faster."""

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
        sha256: str | None = None,
        on_nonfinite: OnNonfinite = "raise",
    ) -> None:
        self._own_options: dict[str, Any] = {
            "max_pixels": count_option("max_pixels", max_pixels),
            "self_test": switch_option("self_test", self_test),
            "on_nonfinite": choice_option("on_nonfinite", on_nonfinite, get_args(OnNonfinite)),
        }
        self._open_model = self._opened(
            model, provider=provider, threads=threads, spin=spin, cache=cache, sha256=sha256
        )
        self.model, self.card = self._open_model.model, self._open_model.card
        self._provider = str(self._open_model.options["provider"])
        self._threads = self._open_model.options["threads"]
        self._digest: str | None = None
        self._many: ManyImages | None = None
        if self_test:
            require_proof(self.model, self.card, lambda pixels: self.run(pixels).logits)

    @property
    def provider(self) -> str:
        """The provider that computes: what was asked for, or what "auto" has taken.

        >>> predictor.provider
        'cpu'
        """
        return self._provider

    @property
    def provider_choice(self) -> EngineChoice | None:
        """What "auto" has taken and why, with every engine that it measured; None without "auto".

        `str(…)` of it is one line.
        """
        return self._open_model.choice

    @property
    def session(self) -> InferenceSession:
        """The onnxruntime session, on as many threads as the predictor was opened with.

        It is another object after a fork. Raises ValueError when the predictor is closed, and
        ModelFileError where a forked process finds the file changed.
        """
        return self._open_model.session

    @property
    def digest(self) -> str:
        """The sha256 of the model file in hex, of the bytes that were opened.

        Computed from the bytes when it is first asked for. Raises ValueError when the predictor is
        closed, and ModelFileError where the bytes were written over meanwhile.

        >>> len(predictor.digest)
        64
        """
        if self._digest is None:
            self._open_model.require_open()
            self._digest = self._open_model.file.digest()
        return self._digest

    @property
    def single_threaded(self) -> bool:
        """Whether `predict_many` computes each batch on one thread, which it found to be faster.

        False until it has measured, after its first 32 images.
        """
        return self._many is not None and self._many.single_threaded is not None

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in the order of the outputs."""
        return self.card.classes

    def __call__(self, image: ImageSource) -> Prediction:
        """Predict one image: a path, bytes, file object, PIL image or uint8 RGB array [H, W, 3].

        Raises ImageError for an image that can't be read, and ModelFileError for outputs that are
        not finite numbers, unless `on_nonfinite` is "keep".
        """
        if self.card.input == "image":
            outputs = self.compute(self._whole_image(image))
        else:
            outputs = self.run(self.pixels(image)[None])
        return self._finished(predictions_of(self.card, outputs)[0], image)

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
        workers = self._threads if workers is None else threads_option("workers", workers)
        from toolchain.runtime.many import ManyImages  # here, so that a first prediction is quick

        self._many = self._many or ManyImages()
        return self._many.stream(
            self,
            iterator_of_images(images),
            batch_size=batch_size,
            workers=workers or usable_cores(),
            on_cpu=self.has_sessions and computes_on_processor(self._provider),
            one_thread=self._with_one_thread,
            finished=self._finished,
        )

    def pixels(self, image: ImageSource) -> NDArray[np.uint8]:
        """Return an image resized and cropped to the network's size, uint8 RGB [size, size, 3].

        Raises ImageError for an image that can't be read.

        >>> predictor.pixels(photo).shape
        (64, 64, 3)
        """
        return preprocess(self._read(image), self.card.preprocessing)

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> list[Prediction]:
        """Predict a batch of pixels uint8 [batch, size, size, 3], as `pixels` returns them.

        Raises ModelFileError for outputs that are not finite numbers, unless `on_nonfinite` is
        "keep".
        """
        predictions = predictions_of(self.card, self.run(pixels))
        return [self._finished(prediction, None) for prediction in predictions]

    def run(self, pixels: NDArray[np.uint8]) -> ModelOutputs:
        """Return (probabilities, logits), each float32 [batch, classes], of a batch of pixels.

        Raises ImageError for pixels of another shape or dtype, and ModelFileError where the model
        can't compute.

        >>> probabilities, logits = predictor.run(predictor.pixels(photo)[None])
        >>> probabilities.shape
        (1, 3)
        """
        size = self.card.preprocessing.size
        if not isinstance(pixels, np.ndarray):
            raise TypeError(f"pixels must be a numpy array, got a {type(pixels).__name__}")
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
        if self._many is not None:
            self._many.close()

    def __reduce__(self) -> tuple[partial[Predictor], tuple[()]]:
        """Pickle to path, options and digest of the file. Raises ValueError when it is closed."""
        self._open_model.require_open()
        options = self._open_model.options | self._own_options | {"sha256": self.digest}
        options["provider"] = self._open_model.asked
        return partial(type(self), str(self._open_model.path), **options), ()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        count = f"{len(self.classes)} classes"
        return f"{type(self).__name__}({self.model!r}, provider={self._provider!r}, {count})"

    def _opened(self, model: str | os.PathLike[str], **options: Any) -> OpenModel:
        """Return the model opened; a subclass may compute it by other means."""
        return OpenModel(model, **options)

    def _finished(self, prediction: Prediction, image: object) -> Prediction:
        """Return the prediction. Raises ModelFileError where its numbers are not finite."""
        if prediction.finite or self._own_options["on_nonfinite"] == "keep":
            return prediction
        raise nonfinite_error(self.model, "an image" if image is None else image_name(image))

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

    def _with_one_thread(self) -> Predictor:
        """Return a predictor of the same bytes on a session of one thread."""
        other = object.__new__(type(self))
        vars(other).update(vars(self), _open_model=self._open_model.with_threads(1), _many=None)
        return other
