"""Compute the validation images with the trained model and with the file, each from their bytes.

The trained model gets torchvision's pixels, the file the predictor's, so that nothing between the
bytes and the label is shared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from toolchain.backends.backend import Backend
from toolchain.backends.outputs import concatenate_outputs
from toolchain.errors import ImageError, ParityError
from toolchain.progress import ProgressReporter, track_images
from toolchain.runtime.card import Card, Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess, require_resizable
from toolchain.runtime.model_inputs import ModelOutputs, Pixels
from toolchain.runtime.predictor import Predictor
from toolchain.verification.levels.image_input import open_graph_resize
from toolchain.verification.levels.probabilities import expected_probabilities
from toolchain.verification.levels.torchvision_pixels import reference_stages
from toolchain.verification.references.trained_model import ReferenceImage, TrainedReference

IMAGES_AT_ONCE = 8
"""Images that are read and computed together, so that memory stays small."""


@dataclass(frozen=True, eq=False)
class ImageComparison:
    """Pixels and outputs of file and trained model: a row for each image that both can read."""

    indices: list[int]
    """Which of the reference's images the rows are."""
    file_pixels: Pixels
    reference_pixels: Pixels
    graph_pixels: Pixels | None
    """Those that the graph of a file with input `image` makes; None for other files."""
    file_outputs: ModelOutputs
    reference_outputs: ModelOutputs
    one_sided: list[int]
    """Images that only one of the two can read."""
    left_out: list[int]
    """Images that neither can read, or that are too long for the graph of an `image` file."""


def with_temperature(images: ImageComparison, card: Card) -> ImageComparison:
    """Return the images with the trained model's probabilities at the temperature of a card."""
    logits = images.reference_outputs.logits
    divided = expected_probabilities(logits.astype(np.float64), card.temperature, card.task)
    outputs = ModelOutputs(divided.astype(np.float32), logits)
    return dataclasses.replace(images, reference_outputs=outputs)


def compare_images(
    backend: Backend, path: Path, trained: TrainedReference, progress: ProgressReporter
) -> ImageComparison:
    """Compute all images with file and trained model; ParityError where none can be read."""
    reader = _PairReader(backend, trained)
    card = backend.card
    resize_in_graph = open_graph_resize(path) if card.input == "image" else None
    indices: list[int] = []
    file_pixels, reference_pixels, graph_pixels = [], [], []
    file_outputs, reference_outputs = [], []
    starts = range(0, len(trained.paths), IMAGES_AT_ONCE)
    count = len(trained.paths)
    for start in track_images(
        progress,
        starts,
        "verifying images",
        count,
        lambda start: min(IMAGES_AT_ONCE, count - start),
    ):
        pairs = list(reader.pairs(start))
        if not pairs:
            continue
        indices += [pair.index for pair in pairs]
        reference_pixels.append(np.stack([pair.reference_pixels for pair in pairs]))
        reference_outputs.append(_reference_outputs(trained, pairs))
        pixels = np.stack([preprocess(pair.image, card.preprocessing) for pair in pairs])
        file_pixels.append(pixels)
        if resize_in_graph is not None and isinstance(backend, Predictor):
            images = [np.asarray(pair.image) for pair in pairs]
            graph_pixels += [resize_in_graph(image) for image in images]
            file_outputs += [backend.compute(image) for image in images]
        else:
            file_outputs.append(backend.run(pixels))
    if not indices:
        raise ParityError(f"none of {len(trained.paths)} validation images can be read")
    return ImageComparison(
        indices=indices,
        file_pixels=np.concatenate(file_pixels),
        reference_pixels=np.concatenate(reference_pixels),
        graph_pixels=np.concatenate(graph_pixels) if graph_pixels else None,
        file_outputs=concatenate_outputs(file_outputs),
        reference_outputs=concatenate_outputs(reference_outputs),
        one_sided=reader.one_sided,
        left_out=reader.left_out,
    )


@dataclass(frozen=True, eq=False)
class _ImagePair:
    """One image, as the predictor and as torchvision read it."""

    index: int
    image: Image.Image
    """By the predictor, with the EXIF orientation applied."""
    reference_pixels: Pixels
    """By torchvision, uint8 [size, size, 3]."""


class _PairReader:
    """Reads images in both ways and keeps the indices of those that can't be compared."""

    def __init__(self, backend: Backend, trained: TrainedReference) -> None:
        self.file_preprocessing = backend.card.preprocessing
        self.reference_preprocessing = trained.eager.card.preprocessing
        self.trained = trained
        self.resizes_in_graph = backend.card.input == "image"
        self.one_sided: list[int] = []
        self.left_out: list[int] = []

    def pairs(self, start: int) -> Iterator[_ImagePair]:
        """Yield those of the next IMAGES_AT_ONCE images that both ways can read."""
        for index in range(start, min(start + IMAGES_AT_ONCE, len(self.trained.paths))):
            try:
                data = self.trained.paths[index].read_bytes()
            except OSError:
                self.left_out.append(index)
                continue
            image = _file_image(data, self.file_preprocessing)
            reference_pixels = self._reference_pixels(index, data)
            if image is None and reference_pixels is None:
                self.left_out.append(index)
            elif image is None or reference_pixels is None:
                self.one_sided.append(index)
            elif self.resizes_in_graph and not _fits(image, self.file_preprocessing):
                self.left_out.append(index)
            else:
                yield _ImagePair(index, image, reference_pixels)

    def _reference_pixels(self, index: int, data: bytes) -> Pixels | None:
        if index in self.trained.computed:
            return self.trained.computed[index].pixels
        try:
            return reference_stages(data, self.reference_preprocessing).cropped
        except Exception:  # Pillow raises whatever damaged data makes it raise
            return None


def _reference_outputs(trained: TrainedReference, pairs: list[_ImagePair]) -> ModelOutputs:
    """Run the trained model, unless it was run on these images for another file already."""
    computed = trained.computed
    if any(pair.index not in computed for pair in pairs):
        outputs = trained.eager.run(np.stack([pair.reference_pixels for pair in pairs]))
        for pair, probabilities, logits in zip(pairs, *outputs, strict=True):
            computed[pair.index] = ReferenceImage(pair.reference_pixels, probabilities, logits)
    found = [computed[pair.index] for pair in pairs]
    return ModelOutputs(
        np.stack([image.probabilities for image in found]),
        np.stack([image.logits for image in found]),
    )


def _file_image(data: bytes, preprocessing: Preprocessing) -> Image.Image | None:
    try:
        return read_image(data, preprocessing)
    except ImageError:
        return None


def _fits(image: Image.Image, preprocessing: Preprocessing) -> bool:
    try:
        require_resizable(image.size, preprocessing)
    except ImageError:
        return False
    return True
