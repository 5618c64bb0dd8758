"""Looks at the validation images with both sides' eyes, each from the bytes of the file.

The trained model sees torchvision's pixels and the file the predictor's, so that nothing between
the bytes and the label is shared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from toolchain.backends.backend import Backend
from toolchain.backends.outputs import concatenate_outputs
from toolchain.errors import ImageError, ParityError
from toolchain.progress import ProgressReporter
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess, require_resizable
from toolchain.runtime.model_inputs import ModelOutputs, Pixels
from toolchain.runtime.predictor import Predictor
from toolchain.verification.layers.outputs import open_image_input
from toolchain.verification.levels.pixels import reference_stages
from toolchain.verification.references.trained_model import Expected, TrainedReference

CHUNK = 8


@dataclass(frozen=True, eq=False)
class ImageComparison:
    """What both sides made of the images, row by row."""

    places: list[int]
    """Which of the workshop's images these are."""
    ours: Pixels
    theirs: Pixels
    in_graph: Pixels | None
    """`image` door: the pixels that the graph makes."""
    reference: ModelOutputs
    answered: ModelOutputs
    one_sided: list[int]
    """Images that only one side can read."""
    left_out: list[int]
    """Images that neither can read, or that are too long for the graph of an `image` file."""


@dataclass(frozen=True, eq=False)
class ImagePair:
    """One image, upright by the predictor and as pixels by torchvision."""

    place: int
    upright: Image.Image
    theirs: Pixels


def compare_images(
    backend: Backend, path: Path, trained: TrainedReference, progress: ProgressReporter
) -> ImageComparison:
    """Return both sides' pixels and outputs of all images; ParityError where none can be read."""
    reader = _PairReader(backend, trained)
    card = backend.card
    door = open_image_input(path) if card.input == "image" else None
    places, ours, theirs, in_graph, reference, answered = [], [], [], [], [], []
    starts = range(0, len(trained.paths), CHUNK)
    for start in progress.track(starts, "verifying", len(starts)):
        pairs = list(reader.pairs(start))
        if not pairs:
            continue
        places += [pair.place for pair in pairs]
        theirs.append(np.stack([pair.theirs for pair in pairs]))
        ours.append(np.stack([preprocess(pair.upright, card.preprocessing) for pair in pairs]))
        reference.append(_expected_outputs(trained, pairs))
        if door is not None and isinstance(backend, Predictor):
            images = [np.asarray(pair.upright) for pair in pairs]
            in_graph += [door(image) for image in images]
            answered += [backend.compute(image) for image in images]
        else:
            answered.append(backend.run(ours[-1]))
    if not places:
        raise ParityError(f"none of {len(trained.paths)} validation images can be read")
    return ImageComparison(
        places=places,
        ours=np.concatenate(ours),
        theirs=np.concatenate(theirs),
        in_graph=np.concatenate(in_graph) if in_graph else None,
        reference=concatenate_outputs(reference),
        answered=concatenate_outputs(answered),
        one_sided=reader.one_sided,
        left_out=reader.left_out,
    )


class _PairReader:
    """Reads images both ways, and remembers those that can't be compared."""

    def __init__(self, backend: Backend, trained: TrainedReference) -> None:
        self.own = backend.card.preprocessing
        self.expected = trained.eager.card.preprocessing
        self.known = trained.expected
        self.in_graph = backend.card.input == "image"
        self.paths = trained.paths
        self.one_sided: list[int] = []
        self.left_out: list[int] = []

    def pairs(self, start: int) -> Iterator[ImagePair]:
        """Yield the images of a chunk that both sides can read."""
        for place in range(start, min(start + CHUNK, len(self.paths))):
            data = self.paths[place].read_bytes()
            upright, theirs = _upright(data, self.own), self._theirs(place, data)
            if upright is None and theirs is None:
                self.left_out.append(place)
            elif upright is None or theirs is None:
                self.one_sided.append(place)
            elif self.in_graph and not _fits(upright, self.own):
                self.left_out.append(place)
            else:
                yield ImagePair(place, upright, theirs)

    def _theirs(self, place: int, data: bytes) -> Pixels | None:
        known = self.known.get(place)
        return _reference(data, self.expected) if known is None else known.pixels


def _expected_outputs(trained: TrainedReference, pairs: list[ImagePair]) -> ModelOutputs:
    """Run the trained model, unless it has seen these images for another file already."""
    known = trained.expected
    if any(pair.place not in known for pair in pairs):
        outputs = trained.eager.run(np.stack([pair.theirs for pair in pairs]))
        for pair, probabilities, logits in zip(pairs, *outputs, strict=True):
            known[pair.place] = Expected(pair.theirs, probabilities, logits)
    found = [known[pair.place] for pair in pairs]
    return np.stack([one.probabilities for one in found]), np.stack([one.logits for one in found])


def _upright(data: bytes, preprocessing: Preprocessing) -> Image.Image | None:
    try:
        return read_image(data, preprocessing)
    except ImageError:
        return None


def _reference(data: bytes, preprocessing: Preprocessing) -> Pixels | None:
    try:
        return reference_stages(data, preprocessing).cropped
    except Exception:  # Pillow raises whatever damaged data makes it raise
        return None


def _fits(image: Image.Image, preprocessing: Preprocessing) -> bool:
    try:
        require_resizable(image.size, preprocessing)
    except ImageError:
        return False
    return True
