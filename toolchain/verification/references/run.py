"""The run as a witness: the trained model in torch, and the user's own validation images."""

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
from toolchain.verification.layers import locate
from toolchain.verification.levels import numbers, pixels
from toolchain.verification.levels.card import card_level
from toolchain.verification.levels.decisions import decisions_level, tie_bound
from toolchain.verification.levels.image_formats import odd_kinds_level
from toolchain.verification.levels.image_input import image_input_level
from toolchain.verification.levels.numbers import numbers_level
from toolchain.verification.levels.pixels import pixels_level
from toolchain.verification.levels.probabilities import where_outputs_part
from toolchain.verification.references.run_images import ImageComparison, compare_images
from toolchain.verification.references.trained_model import TrainedReference
from toolchain.verification.result import Figures, Level


def run_levels(
    backend: Backend, path: Path, trained: TrainedReference, progress: ProgressReporter
) -> Iterator[Level]:
    """Compare the file with the trained model, from made pixels and from the images' bytes."""
    eager, card = trained.eager, backend.card
    yield card_level(eager.card, card)
    if card.preprocessing.size != eager.card.preprocessing.size:
        return  # what the two see can't be compared
    compared = compare_images(backend, path, trained, progress)
    if compared.left_out:
        first = trained.names[compared.left_out[0]]
        progress.message(
            f"left out {len(compared.left_out)} images that can't be read, such as {first}"
        )
    names = [trained.names[place] for place in compared.places]
    same_task = card.task == eager.card.task  # else the labels are of another kind
    labels = [trained.labels[place] for place in compared.places if same_task]
    yield _numbers(backend, path, eager, compared)
    bound = tie_bound(card, compared.reference[1], numbers.TOLERANCES["fp32"])
    yield decisions_level(
        "run", card, names, compared.reference, compared.answered, bound, labels=labels
    )
    yield _pixels(card, trained, compared, names)
    yield odd_kinds_level(card.preprocessing)
    if compared.in_graph is not None:
        yield image_input_level(card, names, compared.ours, compared.in_graph)


def _numbers(backend: Backend, path: Path, eager: EagerBackend, compared: ImageComparison) -> Level:
    """Compare the outputs of made pixels and of the images, and the layers."""
    card = backend.card
    pairs = _made(backend, eager, compared.theirs[: numbers.REAL])
    wrong = [len(a[0]) for a, b in pairs if not numbers_level("run", card, [(a, b)]).passed]
    if card.input != "image":  # there the graph's own resize is within a level, not equal
        pairs.append((compared.reference, compared.answered))
    level = _with_layers(numbers_level("run", card, pairs), backend, path, eager)
    if level.where is None and 0 < len(wrong) < len(numbers.BATCHES):
        sizes = ", ".join(map(str, wrong))
        level = msgspec.structs.replace(level, where=f"the batch: wrong for {sizes} images at once")
    return level


def _made(
    backend: Backend, eager: EagerBackend, real: Pixels
) -> list[tuple[ModelOutputs, ModelOutputs]]:
    """Return (the trained model's, the file's) outputs of pixels in batches of every kind of size."""
    size = backend.card.preprocessing.size
    # int8 has room for what photographs lead to; beyond it values are cut off, as they should be.
    exact = backend.card.precision != "int8"
    made = [numbers.made_pixels(size), generated_pixels(size)] if exact else []
    all_of_them = np.concatenate([*made, real])
    pairs = []
    for batch in numbers.BATCHES:
        given = np.resize(all_of_them, (batch, size, size, 3))
        pairs.append((eager.run(given), backend.run(given)))
    return pairs


def _with_layers(level: Level, backend: Backend, path: Path, eager: EagerBackend) -> Level:
    """Add the comparison layer by layer; a lower precision need not keep its rule."""
    card = backend.card
    exact = card.precision == "fp32"
    tolerance = locate.TOLERANCE if exact else numbers.TOLERANCES[card.precision]
    generated = generated_pixels(card.preprocessing.size)
    report = locate.compare_layers(path, eager, card, generated, tolerance)
    passed = level.passed and (report.first is None or not exact)
    where = report.first
    if where is None and not passed:
        where = where_outputs_part(eager.card, backend.run(generated))
    figures: Figures = {**level.figures, "layers": report.layers, "layers_worst": report.worst}
    return msgspec.structs.replace(
        level,
        passed=passed,
        rule=f"{level.rule}; {locate.rule(tolerance)}" if exact and report.layers else level.rule,
        summary=f"{level.summary}, {report.layers or 'no'} layers",
        figures=figures,
        where=None if passed else where,
    )


def _pixels(
    card: Card, trained: TrainedReference, compared: ImageComparison, names: list[str]
) -> Level:
    """Compare the pixels; an image that one side alone can read counts as different."""
    expected = trained.eager.card.preprocessing
    difference = pixels.compare_pixels(names, compared.theirs, compared.ours)
    one_sided = [trained.names[place] for place in compared.one_sided]
    difference = msgspec.structs.replace(
        difference,
        images=difference.images + len(one_sided),
        different=difference.different + len(one_sided),
        first=difference.first or next(iter(one_sided), None),
    )
    where = None
    if difference.first is not None:
        data = trained.paths[trained.names.index(difference.first)].read_bytes()
        where = f"{pixels.differing_stage(data, expected, card.preprocessing)} ({difference.first})"
    level = pixels_level("run", difference, pixels.RULE, where=where)
    figures: Figures = {**level.figures, "left_out": len(compared.left_out)}
    return msgspec.structs.replace(level, figures=figures)
