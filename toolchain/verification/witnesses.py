"""The two witnesses that travel with a file, and need no torch.

- the card: logits of generated inputs, in the file itself;
- the references: real images and outputs, in a file beside the model.

The third, the run, is heard in `toolchain.verification.references.run`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from toolchain.backends.backend import Backend
from toolchain.errors import ImageError, ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.runtime.model_inputs import Both, Pixels
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import generated_pixels, proof_difference
from toolchain.verification.comparisons import (
    decisions_level,
    numbers_level,
    pixels_level,
    same_file_tolerance,
    tie_bound,
)
from toolchain.verification.levels import pixels
from toolchain.verification.levels.probabilities import TOLERANCE, where_outputs_part
from toolchain.verification.levels.sessions import session_level
from toolchain.verification.references.stored import References
from toolchain.verification.result import Level, failed

CHUNK = 8
Source = Path | bytes


def card_levels(backend: Backend, path: Path, provider: str) -> Iterator[Level]:
    """Compare the file with the proof in its own card, and its sessions with each other."""
    proof = backend.card.proof
    assert proof is not None
    generated = generated_pixels(backend.card.preprocessing.size)
    probabilities, logits = backend.run(generated)
    difference = proof_difference(proof, logits)
    where = where_outputs_part(backend.card, (probabilities, logits))
    yield Level(
        level="numbers",
        against="card",
        passed=difference <= proof.tolerance and where is None,
        rule=f"|a − b| ≤ {proof.tolerance:g} · max(1, max|b|) on generated inputs; the "
        f"probabilities follow from the logits within {TOLERANCE:g}",
        summary=f"{len(logits)} inputs, off by {difference:.1g} (relative), "
        f"allowed {proof.tolerance:g}"
        + ("; the probabilities don't follow from them" if where else ""),
        figures={
            "inputs": len(logits),
            "relative_difference": difference,
            "tolerance": proof.tolerance,
        },
        where=where,
    )
    if isinstance(backend, Predictor):
        yield session_level(
            path,
            backend.card,
            generated,
            logits,
            against="card",
            tolerance=same_file_tolerance(backend.card),
            provider=provider,
        )


def reference_levels(backend: Backend, references: References) -> Iterator[Level]:
    """Compare the file with the outputs that were stored beside it."""
    card = backend.card
    _require_same_kind(card, references)
    tolerance = same_file_tolerance(card)
    stored = references.probabilities, references.logits
    found = outputs(backend, references.pixels)
    level = numbers_level("references", card, [(stored, found)], tolerance)
    where = None if level.passed else where_outputs_part(card, found)
    yield msgspec.structs.replace(level, where=where)
    whole = [i for i, data in enumerate(references.files) if data]
    if not whole:
        return
    names = [references.names[i] for i in whole]
    files = [references.files[i] for i in whole]
    expected = references.probabilities[whole], references.logits[whole]
    try:
        answered = answers(backend, files, names)
        ours = [pixels_of(card, data, name) for data, name in zip(files, names, strict=True)]
    except ImageError as error:
        yield failed("pixels", "references", str(error), where=f"decode: {error}")
        return
    bound = tie_bound(card, expected[1], tolerance)
    yield decisions_level("references", card, names, expected, answered, bound)
    difference = pixels.compare_pixels(names, references.pixels[whole], np.stack(ours))
    rule = "every value equals the workshop's, from the same bytes"
    where = "decode, upright, resize or crop, on this machine"
    yield pixels_level("references", difference, rule, where=where)


def _require_same_kind(card: Card, references: References) -> None:
    """Raise ModelFileError for references that can't be of this model."""
    if references.classes != card.classes:
        raise ModelFileError("the references were made for other classes than the card names")
    size = references.pixels.shape[1]
    if size != card.preprocessing.size:
        raise ModelFileError(
            f"the references were made at {size} pixels, the card says {card.preprocessing.size}"
        )


def outputs(backend: Backend, made: Pixels) -> Both:
    """Give (probabilities, logits) of any number of pixels, computed in small batches."""
    parts = [backend.run(made[i : i + CHUNK]) for i in range(0, len(made), CHUNK)]
    return joined(parts)


def answers(backend: Backend, sources: Sequence[Source], names: Sequence[str]) -> Both:
    """Give (probabilities, logits) of image files, through the predictor's own code."""
    preprocessing = backend.card.preprocessing
    if backend.card.input == "image" and isinstance(backend, Predictor):
        images = (
            read_image(source, preprocessing, name=name)
            for source, name in zip(sources, names, strict=True)
        )
        return joined([backend.compute(np.asarray(image)) for image in images])
    made = [pixels_of(backend.card, s, name) for s, name in zip(sources, names, strict=True)]
    return outputs(backend, np.stack(made))


def pixels_of(card: Card, source: Source, name: str) -> Pixels:
    """Give what the model sees of an image, from its bytes and by a model's card."""
    return preprocess(read_image(source, card.preprocessing, name=name), card.preprocessing)


def joined(parts: Sequence[Both]) -> Both:
    """Give the outputs of several batches as one."""
    return np.concatenate([p for p, _ in parts]), np.concatenate([row for _, row in parts])
