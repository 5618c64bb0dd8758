"""The three witnesses a file is compared with, each giving its levels.

- the card: logits of generated inputs, in the file itself;
- the references: real images and outputs, in a file beside the model;
- the run: the trained model in torch and the user's own validation images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelFileError
from toolchain.narrator import Narrator
from toolchain.runtime.card import Card
from toolchain.runtime.doors import Both
from toolchain.runtime.image import read_image
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.preprocess import preprocess
from toolchain.runtime.selftest import generated_pixels, proof_difference
from toolchain.verify import numbers, pixels
from toolchain.verify.backends import Backend, EagerBackend
from toolchain.verify.comparisons import (
    card_level,
    decisions_level,
    door_level,
    numbers_level,
    odd_kinds_level,
    pixels_level,
    same_file_tolerance,
    tie_bound,
)
from toolchain.verify.levels import Figures, Level
from toolchain.verify.locate import RULE as LAYER_RULE
from toolchain.verify.locate import compare_layers, where_outputs_part
from toolchain.verify.references import References
from toolchain.verify.sessions import session_level
from toolchain.verify.workshop import Workshop

CHUNK = 8
Pixels = NDArray[np.uint8]
Source = Path | bytes


def card_levels(backend: Backend, path: Path, provider: str) -> list[Level]:
    """Compare the file with the proof in its own card, and its sessions with each other."""
    proof = backend.card.proof
    assert proof is not None
    generated = generated_pixels(backend.card.preprocessing.size)
    _, logits = backend.run(generated)
    difference = proof_difference(proof, logits)
    levels = [
        Level(
            level="numbers",
            against="card",
            passed=difference <= proof.tolerance,
            rule=f"|a − b| ≤ {proof.tolerance:g} · max(1, max|b|) on generated inputs",
            summary=f"{len(logits)} inputs, off by {difference:.1g} (relative), "
            f"allowed {proof.tolerance:g}",
            figures={
                "inputs": len(logits),
                "relative_difference": difference,
                "tolerance": proof.tolerance,
            },
        )
    ]
    if isinstance(backend, Predictor):
        levels.append(
            session_level(
                path,
                backend.card,
                generated,
                logits,
                against="card",
                tolerance=same_file_tolerance(backend.card),
                provider=provider,
            )
        )
    return levels


def reference_levels(backend: Backend, references: References) -> list[Level]:
    """Compare the file with the outputs that were stored beside it."""
    card = backend.card
    if references.classes != card.classes:
        raise ModelFileError("the references were made for other classes than the card names")
    tolerance = same_file_tolerance(card)
    stored = references.probabilities, references.logits
    found = outputs(backend, references.pixels)
    levels = [numbers_level("references", card, [(stored, found)], tolerance)]
    whole = [i for i, data in enumerate(references.files) if data]
    if not whole:
        return levels
    names = [references.names[i] for i in whole]
    files = [references.files[i] for i in whole]
    answered = answers(backend, files, names)
    expected = references.probabilities[whole], references.logits[whole]
    bound = tie_bound(card, expected[1], tolerance)
    levels.append(decisions_level("references", card, names, expected, answered, bound))
    ours = np.stack([pixels_of(card, data, name) for data, name in zip(files, names, strict=True)])
    difference = pixels.compare_pixels(names, references.pixels[whole], ours)
    rule = "every value equals the workshop's, from the same bytes"
    levels.append(pixels_level("references", difference, rule, where="this machine's decoder"))
    return levels


def run_levels(backend: Backend, path: Path, workshop: Workshop, narrator: Narrator) -> list[Level]:
    """Compare the file with the trained model, from made pixels and from the images' bytes."""
    eager, card = workshop.eager, backend.card
    reference, answered, ours, theirs = _from_bytes(backend, workshop, narrator)
    pairs = _made(backend, eager, theirs[: numbers.REAL])
    if card.input != "image":  # there the graph's own resize is within a level, not equal
        pairs.append((reference, answered))
    bound = tie_bound(card, reference[1], numbers.TOLERANCES["fp32"])
    difference = pixels.compare_pixels(workshop.names, theirs, ours)
    where = None
    if difference.first is not None:
        at = workshop.paths[workshop.names.index(difference.first)]
        where = pixels.differing_stage(at.read_bytes(), card.preprocessing)
    levels = [
        card_level(eager.card, card),
        _with_layers(numbers_level("run", card, pairs), backend, path, eager),
        decisions_level(
            "run", card, workshop.names, reference, answered, bound, labels=workshop.labels
        ),
        pixels_level("run", difference, pixels.RULE, where=where),
        odd_kinds_level(card.preprocessing),
    ]
    if card.input == "image":
        levels.append(door_level(path, card, workshop))
    return levels


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


def _from_bytes(
    backend: Backend, workshop: Workshop, narrator: Narrator
) -> tuple[Both, Both, Pixels, Pixels]:
    """Give the trained model's outputs, the file's, and the pixels: ours and torchvision's.

    The trained model sees torchvision's pixels and the file the predictor's, so that nothing
    between the bytes and the label is shared.
    """
    eager, card = workshop.eager, backend.card
    reference, answered, ours, theirs = [], [], [], []
    starts = range(0, len(workshop.paths), CHUNK)
    for start in narrator.track(starts, "verifying", len(starts)):
        names = workshop.names[start : start + CHUNK]
        files = [path.read_bytes() for path in workshop.paths[start : start + CHUNK]]
        expected = np.stack(
            [pixels.reference_stages(data, eager.card.preprocessing).cropped for data in files]
        )
        seen = np.stack([pixels_of(card, d, name) for d, name in zip(files, names, strict=True)])
        theirs.append(expected)
        ours.append(seen)
        reference.append(eager.run(expected))
        by_image = card.input == "image"
        answered.append(answers(backend, files, names) if by_image else backend.run(seen))
    return joined(reference), joined(answered), np.concatenate(ours), np.concatenate(theirs)


def _made(backend: Backend, eager: EagerBackend, real: Pixels) -> list[tuple[Both, Both]]:
    """Give (the trained model's, the file's) outputs of pixels in batches of every kind of size."""
    size = backend.card.preprocessing.size
    all_of_them = np.concatenate([numbers.made_pixels(size), generated_pixels(size), real])
    pairs = []
    for batch in numbers.BATCHES:
        given = np.resize(all_of_them, (batch, size, size, 3))
        pairs.append((eager.run(given), backend.run(given)))
    return pairs


def _with_layers(level: Level, backend: Backend, path: Path, eager: EagerBackend) -> Level:
    """Add the comparison layer by layer, where the format has layers with names."""
    card = backend.card
    generated = generated_pixels(card.preprocessing.size)
    report = compare_layers(path, eager, card, generated)
    figures: Figures = {**level.figures, "layers": report.layers, "layers_worst": report.worst}
    where = report.first
    if where is None and not level.passed:
        where = where_outputs_part(eager.card, *backend.run(generated))
    exact = card.precision == "fp32"
    layers = f", {report.layers} layers" if report.layers else ""
    return msgspec.structs.replace(
        level,
        passed=level.passed and (report.first is None or not exact),
        rule=f"{level.rule}; {LAYER_RULE}" if report.layers and exact else level.rule,
        summary=level.summary + layers,
        figures=figures,
        where=where if exact else None,
    )
