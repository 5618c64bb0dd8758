"""The levels of a file against its run: the trained model in torch, and the validation images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from toolchain.backends.backend import Backend
from toolchain.backends.torch_eager import EagerBackend
from toolchain.progress import ProgressReporter
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import ModelOutputs, Pixels
from toolchain.runtime.selftest import generated_pixels
from toolchain.verification.layers.locate import LAYER_TOLERANCE, compare_layers, layers_rule
from toolchain.verification.levels import numbers
from toolchain.verification.levels.card import card_level
from toolchain.verification.levels.decisions import decisions_level, tie_bound
from toolchain.verification.levels.image_formats import image_formats_level
from toolchain.verification.levels.image_input import image_input_level
from toolchain.verification.levels.numbers import numbers_level
from toolchain.verification.levels.pixels import (
    PIXELS_RULE,
    compare_pixels,
    differing_stage,
    pixels_level,
)
from toolchain.verification.levels.probabilities import wrong_probability_stage
from toolchain.verification.references.run_images import ImageComparison, compare_images
from toolchain.verification.references.trained_model import TrainedReference
from toolchain.verification.result import Figures, Level


def run_levels(
    backend: Backend, path: Path, trained: TrainedReference, progress: ProgressReporter
) -> Iterator[Level]:
    """Yield the levels of a file against the trained model, with its validation images.

    Where the card has another image size than the run, nothing but the card is compared.
    """
    eager, card = trained.eager, backend.card
    yield card_level(eager.card, card)
    if card.preprocessing.size != eager.card.preprocessing.size:
        return
    images = compare_images(backend, path, trained, progress)
    if images.left_out:
        first = trained.names[images.left_out[0]]
        progress.message(
            f"left out {len(images.left_out)} images that can't be read, such as {first}"
        )
    names = [trained.names[index] for index in images.indices]
    same_task = card.task == eager.card.task  # else the labels are of another kind
    labels = [trained.labels[index] for index in images.indices if same_task]
    yield _numbers(backend, path, eager, images)
    reference = images.reference_outputs
    bound = tie_bound(card, reference.logits, numbers.TOLERANCES["fp32"])
    yield decisions_level("run", card, names, reference, images.file_outputs, bound, labels=labels)
    yield _pixels(card, trained, images, names)
    yield image_formats_level(card.preprocessing)
    if images.graph_pixels is not None:
        yield image_input_level(card, names, images.file_pixels, images.graph_pixels)


def _numbers(backend: Backend, path: Path, eager: EagerBackend, images: ImageComparison) -> Level:
    """Compare the outputs for synthetic pixels and for the images, then the layers."""
    card = backend.card
    pairs = _batches(backend, eager, images.reference_pixels[: numbers.REAL_IMAGES])
    wrong_sizes = [
        len(reference.logits)
        for reference, found in pairs
        if not numbers_level("run", card, [(reference, found)]).passed
    ]
    if card.input != "image":  # there the graph's own resize is within a level, not equal
        pairs.append((images.reference_outputs, images.file_outputs))
    level = _with_layers(numbers_level("run", card, pairs), backend, path, eager)
    if level.where is None and 0 < len(wrong_sizes) < len(numbers.BATCH_SIZES):
        sizes = ", ".join(map(str, wrong_sizes))
        level = msgspec.structs.replace(level, where=f"the batch: wrong for {sizes} images at once")
    return level


def _batches(
    backend: Backend, eager: EagerBackend, real: Pixels
) -> list[tuple[ModelOutputs, ModelOutputs]]:
    """Return (the trained model's, the file's) outputs for a batch of each of BATCH_SIZES."""
    size = backend.card.preprocessing.size
    # int8 is calibrated for photographs; larger activations are cut off, as they should be.
    takes_any = backend.card.precision != "int8"
    synthetic = [numbers.synthetic_pixels(size), generated_pixels(size)] if takes_any else []
    pixels = np.concatenate([*synthetic, real])
    pairs = []
    for batch in numbers.BATCH_SIZES:
        given = np.resize(pixels, (batch, size, size, 3))
        pairs.append((eager.run(given), backend.run(given)))
    return pairs


def _with_layers(level: Level, backend: Backend, path: Path, eager: EagerBackend) -> Level:
    """Compare layer by layer; for a lower precision this sets `where` and not the verdict."""
    card = backend.card
    exact = card.precision == "fp32"
    tolerance = LAYER_TOLERANCE if exact else numbers.TOLERANCES[card.precision]
    generated = generated_pixels(card.preprocessing.size)
    report = compare_layers(path, eager, card, generated, tolerance)
    passed = level.passed and (report.first is None or not exact)
    where = report.first
    if where is None and not passed:
        where = wrong_probability_stage(eager.card, backend.run(generated))
    figures: Figures = {**level.figures, "layers": report.layers, "layers_worst": report.worst}
    return msgspec.structs.replace(
        level,
        passed=passed,
        rule=f"{level.rule}; {layers_rule(tolerance)}" if exact and report.layers else level.rule,
        summary=f"{level.summary}, {report.layers or 'no'} layers",
        figures=figures,
        where=None if passed else where,
    )


def _pixels(
    card: Card, trained: TrainedReference, images: ImageComparison, names: list[str]
) -> Level:
    """Compare the pixels; an image that only one of the two can read counts as different."""
    difference = compare_pixels(names, images.reference_pixels, images.file_pixels)
    one_sided = [trained.names[index] for index in images.one_sided]
    difference = msgspec.structs.replace(
        difference,
        images=difference.images + len(one_sided),
        different=difference.different + len(one_sided),
        first=difference.first or next(iter(one_sided), None),
    )
    where = None
    if difference.first is not None:
        data = trained.paths[trained.names.index(difference.first)].read_bytes()
        stage = differing_stage(data, trained.eager.card.preprocessing, card.preprocessing)
        where = f"{stage} ({difference.first})"
    level = pixels_level("run", difference, PIXELS_RULE, where=where)
    figures: Figures = {**level.figures, "left_out": len(images.left_out)}
    return msgspec.structs.replace(level, figures=figures)
