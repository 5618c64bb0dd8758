"""Level "numbers" against the run: outputs, layers and weights of a file and the trained model."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from toolchain.backends.backend import Backend
from toolchain.backends.outputs import concatenate_outputs, run_in_batches
from toolchain.backends.torch_eager import EagerBackend
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import Pixels
from toolchain.runtime.selftest import INPUT_NAMES, proof_pixels
from toolchain.verification.layers.content import compare_weights, foreign_operator, read_graph
from toolchain.verification.layers.locate import (
    LAYER_INPUTS,
    LAYER_TOLERANCE,
    LayerReport,
    compare_layers,
    layers_rule,
)
from toolchain.verification.levels import numbers
from toolchain.verification.levels.numbers import failing_inputs, numbers_level
from toolchain.verification.levels.probabilities import wrong_probability_stage
from toolchain.verification.references.run_images import ImageComparison
from toolchain.verification.result import Figures, Level

NAMED_INPUTS = 5
"""Failing inputs that a report names."""


def run_numbers_level(
    backend: Backend,
    held: Card,
    path: Path,
    eager: EagerBackend,
    images: ImageComparison,
    names: list[str],
) -> Level:
    """Compare the outputs for synthetic pixels and for the images, then layers and weights."""
    pixels, inputs = _inputs(held, images, names)
    found = run_in_batches(backend, pixels)
    pairs = [(run_in_batches(eager, pixels), found)]
    if held.input != "image":  # there the graph's own resize is within a level, not equal
        pairs.append((images.reference_outputs, images.file_outputs))
        pixels = np.concatenate([pixels, images.reference_pixels])
        inputs = [*inputs, *names]
    level = numbers_level("run", held, pairs)
    reference, computed = (concatenate_outputs(side) for side in zip(*pairs, strict=True))
    tolerance = numbers.TOLERANCES[held.precision]
    failing = failing_inputs(inputs, reference, computed, tolerance)
    level = _with_layers(level, backend, held, path, eager, pixels[failing])
    if not failing:
        return level
    return _with_inputs(level, [inputs[i] for i in failing], len(inputs))


def _inputs(held: Card, images: ImageComparison, names: list[str]) -> tuple[Pixels, list[str]]:
    """Return the inputs that both compute besides the images, with their names."""
    size, count = held.preprocessing.size, numbers.REAL_IMAGES
    real, real_names = images.reference_pixels[:count], names[:count]
    # int8 is calibrated for photographs; larger activations are cut off, as they should be.
    if held.precision == "int8":
        return real, real_names
    pixels = np.concatenate([numbers.synthetic_pixels(size), proof_pixels(size), real])
    return pixels, [*numbers.SYNTHETIC_NAMES, *INPUT_NAMES, *real_names]


def _with_layers(
    level: Level, backend: Backend, held: Card, path: Path, eager: EagerBackend, failing: Pixels
) -> Level:
    """Compare layers and weights; the layers of a lower precision set `where`, not the verdict."""
    exact = held.precision == "fp32"
    tolerance = LAYER_TOLERANCE if exact else numbers.TOLERANCES[held.precision]
    generated = proof_pixels(held.preprocessing.size)
    through_layers = np.concatenate([failing, generated])[:LAYER_INPUTS]
    report = compare_layers(path, eager, held, through_layers, tolerance)
    graph = read_graph(path, held)
    weights = compare_weights(graph, held, eager.classifier.network)
    wrong_layer = report.first or report.uncovered if exact else None
    operator = foreign_operator(graph)
    passed = level.passed and wrong_layer is None and weights is None and operator is None
    figures: Figures = {**level.figures, "layers": report.layers, "layers_worst": report.worst}
    return msgspec.structs.replace(
        level,
        passed=passed,
        rule=f"{level.rule}; {layers_rule(tolerance)}" if exact and report.layers else level.rule,
        summary=f"{level.summary}, {report.layers or 'no'} layers",
        figures=figures,
        where=None if passed else _where(held, backend, eager, report, weights) or operator,
    )


def _where(
    held: Card, backend: Backend, eager: EagerBackend, report: LayerReport, weights: str | None
) -> str | None:
    """Return where a file begins to differ.

    An int8 file rounds every layer: there only a weight that is not the run's says which layer.
    """
    if held.precision == "int8":
        found = weights
    elif report.first is not None and report.first_has_cause:
        found = report.first
    else:
        found = weights or report.first or report.uncovered
    if found is not None:
        return found
    return wrong_probability_stage(eager.card, backend.run(proof_pixels(held.preprocessing.size)))


def _with_inputs(level: Level, failing: list[str], inputs: int) -> Level:
    """Name the inputs that fail; where only some do, they are a part of the place."""
    more = f" and {len(failing) - NAMED_INPUTS} more" if len(failing) > NAMED_INPUTS else ""
    named = ", ".join(failing[:NAMED_INPUTS]) + more
    where = level.where
    if len(failing) < inputs:
        where = f"the input {named}" if where is None else f"{where} (for the input {named})"
    figures: Figures = {**level.figures, "failing": tuple(failing[:NAMED_INPUTS])}
    summary = f"{level.summary}; beyond it for {named}"
    return msgspec.structs.replace(level, summary=summary, figures=figures, where=where)
