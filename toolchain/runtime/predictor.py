"""What an app embeds: a model file, opened, that turns images into predictions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ImageError, ModelFileError, ParityError
from toolchain.runtime.card import Card
from toolchain.runtime.doors import Both, Floats, through_door
from toolchain.runtime.image import ImageSource, read_image
from toolchain.runtime.prediction import Prediction
from toolchain.runtime.preprocess import preprocess, require_room
from toolchain.runtime.selftest import generated_pixels, proof_difference
from toolchain.runtime.session import open_session, readable_reason, session_card

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

OUTPUTS = ["probabilities", "logits"]


class Predictor:
    """A model file, opened on one provider.

    `provider` is "cpu", "cuda" or any name onnxruntime knows; it is used or an error is raised,
    never replaced. `threads` defaults to the cores this process may use. `self_test=True` repeats
    the proof in the card before the first prediction.

    Raises ModelFileError, ProviderError or MissingExtraError, and ParityError from the self test.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        provider: str = "cpu",
        threads: int | None = None,
        self_test: bool = False,
    ) -> None:
        self.model = os.fspath(model)
        session = open_session(model, provider=provider, threads=threads)
        self.card: Card = session_card(session, model)
        self._session: InferenceSession | None = session
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
        self, images: Iterable[ImageSource], *, batch_size: int = 8
    ) -> list[Prediction | ImageError]:
        """Predict images in order; an image that can't be read gives its error in its place."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        remaining = iter(images)
        results: list[Prediction | ImageError] = []
        while batch := list(islice(remaining, batch_size)):
            results += self._predict_batch(batch)
        return results

    def pixels(self, image: ImageSource) -> NDArray[np.uint8]:
        """Give the pixels uint8 [size, size, 3] that the network sees of an image."""
        preprocessing = self.card.preprocessing
        return preprocess(read_image(image, preprocessing), preprocessing)

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> list[Prediction]:
        """Predict a batch of pixels uint8 [batch, size, size, 3], as `pixels` gives them."""
        return self._predictions(self.run(pixels))

    def run(self, pixels: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Give (probabilities, logits), each float32 [batch, classes], of a batch of pixels.

        Raises ImageError for pixels of another shape, ModelFileError where the model can't compute.
        """
        size = self.card.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3):
            raise ImageError(
                f"pixels: {pixels.dtype} of shape {pixels.shape}",
                hint=f"this model takes uint8 [batch, {size}, {size}, 3]",
            )
        probabilities, logits = through_door(self.compute, pixels, self.card)
        return probabilities, logits

    def compute(self, given: NDArray[Any]) -> Both:
        """Run the graph once, on exactly what it takes; see `toolchain.runtime.doors`.

        Raises ModelFileError where the model can't compute.
        """
        if self._session is None:
            raise ValueError("this predictor is closed")
        try:
            probabilities, logits = self._session.run(OUTPUTS, {self.card.input: given})
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
        self._session = None

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _predictions(self, outputs: Both) -> list[Prediction]:
        return [
            Prediction(self.classes, p, row, self.card.threshold, self.card.task)
            for p, row in zip(*outputs, strict=True)
        ]

    def _words(self, given: NDArray[Any]) -> str:
        alone = self.card.input == "image" or len(given) == 1
        return "an image" if alone else f"{len(given)} images"

    def _upright(self, image: ImageSource) -> NDArray[np.uint8]:
        """Give an image as a graph takes it that resizes and crops by itself."""
        upright = read_image(image, self.card.preprocessing)
        require_room(upright.size, self.card.preprocessing)
        return np.asarray(upright)

    def _predict_batch(self, images: Sequence[ImageSource]) -> list[Prediction | ImageError]:
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
