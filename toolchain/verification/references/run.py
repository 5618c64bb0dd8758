"""The levels of a file against its run: the trained model in torch, and the validation images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from toolchain.backends.backend import Backend
from toolchain.backends.torch_eager import EagerBackend
from toolchain.errors import ParityError
from toolchain.progress import ProgressReporter
from toolchain.runtime.card import Card
from toolchain.verification.examination import Where, attempted, examined
from toolchain.verification.levels import numbers
from toolchain.verification.levels.card import card_level, run_weights_level
from toolchain.verification.levels.decisions import decisions_level, tie_bound
from toolchain.verification.levels.image_formats import image_formats_level
from toolchain.verification.levels.image_input import image_input_level
from toolchain.verification.levels.pixels import (
    PIXELS_RULE,
    compare_pixels,
    differing_stage,
    pixels_level,
)
from toolchain.verification.levels.temperature import temperature_reason
from toolchain.verification.references.run_images import (
    ImageComparison,
    compare_images,
    with_temperature,
)
from toolchain.verification.references.run_numbers import run_numbers_level
from toolchain.verification.references.trained_model import TrainedReference
from toolchain.verification.result import Figures, Level, failed


def run_levels(
    backend: Backend,
    held: Card,
    path: Path,
    trained: TrainedReference,
    progress: ProgressReporter,
    where: Where,
) -> Iterator[Level]:
    """Yield the levels of a file against the trained model, with its validation images.

    `held` is the card that the file is held to. Where the card has another image size than the run,
    nothing but the card is compared. Where the weights of the run are not those that its card
    names, the run is at fault, and nothing else is compared.
    """
    eager = trained.eager
    changed = run_weights_level(trained.weights_sha256, eager.card, held)
    if changed is not None:
        yield changed
        return
    yield examined("card", "run", lambda: card_level(eager.card, held, trained.evaluated))
    if held.preprocessing.size != eager.card.preprocessing.size:
        return
    images = attempted("numbers", "run", lambda: _computed(backend, path, trained, progress), where)
    if isinstance(images, Level):
        yield images
        return
    yield from _levels_of_images(backend, held, path, trained, images, progress, where)


def _levels_of_images(
    backend: Backend,
    held: Card,
    path: Path,
    trained: TrainedReference,
    images: ImageComparison,
    progress: ProgressReporter,
    where: Where,
) -> Iterator[Level]:
    """Yield the levels from the numbers on, for images that both sides have computed."""
    eager = trained.eager
    if images.left_out:
        first = trained.names[images.left_out[0]]
        progress.message(
            f"left out {len(images.left_out)} images that can't be read, such as {first}"
        )
    names = [trained.names[index] for index in images.indices]
    same_task = held.task == eager.card.task  # else the labels are of another kind
    labels = [trained.labels[index] for index in images.indices if same_task]
    if held.precision == "int8" and held.temperature != eager.card.temperature:
        reason = temperature_reason(eager.card, held, images.file_outputs, labels)
        if reason is not None:
            yield failed("card", "run", reason, where="the card: temperature")
        else:
            # It was accepted: what follows is compared at the temperature of the file.
            images = with_temperature(images, held)
            eager = EagerBackend(
                eager.classifier, msgspec.structs.replace(eager.card, temperature=held.temperature)
            )
    yield examined(
        "numbers",
        "run",
        lambda: run_numbers_level(backend, held, path, eager, images, names),
        where,
    )
    reference = images.reference_outputs
    bound = tie_bound(held, reference.logits, numbers.TOLERANCES["fp32"])
    yield examined(
        "decisions",
        "run",
        lambda: decisions_level(
            "run", held, names, reference, images.file_outputs, bound, labels=labels
        ),
    )
    yield examined("pixels", "run", lambda: _pixels(held, trained, images, names))
    yield examined("pixels", "image formats", lambda: image_formats_level(held.preprocessing))
    in_graph = images.graph_pixels
    if in_graph is not None:
        yield examined(
            "pixels",
            "graph's input",
            lambda: image_input_level(
                held, names, images.file_pixels, in_graph, against="graph's input"
            ),
        )


def _computed(
    backend: Backend, path: Path, trained: TrainedReference, progress: ProgressReporter
) -> ImageComparison:
    """Compute the images with both. Raises what keeps the file from computing."""
    images = compare_images(backend, path, trained, progress)
    expected = images.reference_outputs.logits.shape
    if images.file_outputs.logits.shape != expected:
        raise ParityError(
            f"the model gives outputs of shape {images.file_outputs.logits.shape}, "
            f"expected {expected}"
        )
    return images


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
