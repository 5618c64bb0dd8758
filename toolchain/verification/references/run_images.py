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
from toolchain.errors import ImageError, ParityError
from toolchain.progress import Narrator
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess, require_room
from toolchain.runtime.model_inputs import Both, Pixels
from toolchain.runtime.predictor import Predictor
from toolchain.verification.layers.outputs import open_door
from toolchain.verification.levels.pixels import reference_stages
from toolchain.verification.references.trained_model import Expected, Workshop
from toolchain.verification.witnesses import joined

CHUNK = 8


@dataclass(frozen=True, eq=False)
class Look:
    """What both sides made of the images, row by row."""

    places: list[int]
    """Which of the workshop's images these are."""
    ours: Pixels
    theirs: Pixels
    in_graph: Pixels | None
    """`image` door: the pixels that the graph makes."""
    reference: Both
    answered: Both
    one_sided: list[int]
    """Images that only one side can read."""
    left_out: list[int]
    """Images that neither can read, or that are too long for the graph of an `image` file."""


@dataclass(frozen=True, eq=False)
class Sight:
    """One image, upright by the predictor and as pixels by torchvision."""

    place: int
    upright: Image.Image
    theirs: Pixels


def look_at(backend: Backend, path: Path, workshop: Workshop, narrator: Narrator) -> Look:
    """Give both sides' pixels and outputs of all images; ParityError where none can be read."""
    gaze = _Gaze(backend, workshop)
    card = backend.card
    door = open_door(path) if card.input == "image" else None
    places, ours, theirs, in_graph, reference, answered = [], [], [], [], [], []
    starts = range(0, len(workshop.paths), CHUNK)
    for start in narrator.track(starts, "verifying", len(starts)):
        sights = list(gaze.sights(start))
        if not sights:
            continue
        places += [sight.place for sight in sights]
        theirs.append(np.stack([sight.theirs for sight in sights]))
        ours.append(np.stack([preprocess(sight.upright, card.preprocessing) for sight in sights]))
        reference.append(_expected_outputs(workshop, sights))
        if door is not None and isinstance(backend, Predictor):
            images = [np.asarray(sight.upright) for sight in sights]
            in_graph += [door(image) for image in images]
            answered += [backend.compute(image) for image in images]
        else:
            answered.append(backend.run(ours[-1]))
    if not places:
        raise ParityError(f"none of {len(workshop.paths)} validation images can be read")
    return Look(
        places=places,
        ours=np.concatenate(ours),
        theirs=np.concatenate(theirs),
        in_graph=np.concatenate(in_graph) if in_graph else None,
        reference=joined(reference),
        answered=joined(answered),
        one_sided=gaze.one_sided,
        left_out=gaze.left_out,
    )


class _Gaze:
    """Reads images both ways, and remembers those that can't be compared."""

    def __init__(self, backend: Backend, workshop: Workshop) -> None:
        self.own = backend.card.preprocessing
        self.expected = workshop.eager.card.preprocessing
        self.known = workshop.expected
        self.in_graph = backend.card.input == "image"
        self.paths = workshop.paths
        self.one_sided: list[int] = []
        self.left_out: list[int] = []

    def sights(self, start: int) -> Iterator[Sight]:
        """Give the images of a chunk that both sides can read."""
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
                yield Sight(place, upright, theirs)

    def _theirs(self, place: int, data: bytes) -> Pixels | None:
        known = self.known.get(place)
        return _reference(data, self.expected) if known is None else known.pixels


def _expected_outputs(workshop: Workshop, sights: list[Sight]) -> Both:
    """Run the trained model, unless it has seen these images for another file already."""
    known = workshop.expected
    if any(sight.place not in known for sight in sights):
        outputs = workshop.eager.run(np.stack([sight.theirs for sight in sights]))
        for sight, probabilities, logits in zip(sights, *outputs, strict=True):
            known[sight.place] = Expected(sight.theirs, probabilities, logits)
    found = [known[sight.place] for sight in sights]
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
        require_room(image.size, preprocessing)
    except ImageError:
        return False
    return True
