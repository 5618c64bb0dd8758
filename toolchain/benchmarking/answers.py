"""The answers of the targets: each is held to what its card says, then they are compared.

Files are the same model where their cards name the same weights, classes and image size, and the
same adaptation to another camera. In float32 these must agree. A lower precision is held to the
proof in its own card, which is what its export accepted, and another model to nothing: it is shown
how its answers differ. So it is with a file that another tool has quantised or converted, which
keeps the card of the file that it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.benchmarking.figures.verdicts import Reason
from toolchain.benchmarking.processes.targets import Target
from toolchain.benchmarking.processes.worker import Opened
from toolchain.benchmarking.rows import ComparedModel, Relation
from toolchain.errors import ModelFileError, RefusedError
from toolchain.printable import shell_words
from toolchain.runtime.card import Acceptance, Card, Precision
from toolchain.runtime.model_inputs import Floats
from toolchain.runtime.onnxfile.stored_weights import stored_precision
from toolchain.runtime.provider_names import in_bfloat16
from toolchain.runtime.selftest import (
    INPUTS,
    PROOF_TOLERANCES,
    proof_difference,
    proof_tolerance,
)
from toolchain.verification.levels import numbers


@dataclass(frozen=True, eq=False)
class Answers:
    """The outputs of one target for the generated inputs, and for stored images after them."""

    target: Target
    card: Card
    probabilities: Floats
    logits: Floats
    precision: Precision
    """In which the file stores its weights."""

    @property
    def changed(self) -> bool:
        """Whether another tool has changed the file since its card was written."""
        return self.precision != self.card.precision

    @property
    def model(self) -> tuple[object, ...]:
        """What the card says that is computed, whatever the format and the precision."""
        card = self.card
        size = card.preprocessing.size
        return card.weights.sha256, card.classes, size, card.task, card.adapted

    @property
    def exact(self) -> bool:
        """Whether it claims the outputs of the trained model, within float32's rounding."""
        return self.precision == self.card.precision == "fp32" and not self.rounded

    @property
    def rounded(self) -> bool:
        """Whether the provider rounds every layer; then it is held to what int8 is held to."""
        return in_bfloat16(self.target.provider)


def answers_of(target: Target, opened: Opened) -> Answers:
    """Return the answers in a worker's reply."""

    def outputs(data: bytes) -> Floats:
        return np.frombuffer(data, dtype="<f4").reshape(-1, opened.classes)

    is_onnx = opened.card.format == "onnx"  # torch's files are float32 and nothing changes them
    return Answers(
        target,
        opened.card,
        outputs(opened.probabilities),
        outputs(opened.logits),
        stored_precision(target.path) if is_onnx else opened.card.precision,
    )


def require_consistent(answers: Sequence[Answers]) -> None:
    """Raise RefusedError where a target does not compute what its card says.

    Each file is held to the proof in its card; files of the same model in float32 to each other.
    """
    first_of: dict[tuple[object, ...], Answers] = {}
    for item in answers:
        if item.exact:
            _require_same(first_of.setdefault(item.model, item), item)
        if not item.changed:
            _require_proof(item)


def compared_models(answers: Sequence[Answers]) -> list[ComparedModel]:
    """Return each target once, compared with the first; of several providers the worst counts."""
    accepted = {a.model: a.card.acceptance for a in answers if a.card.acceptance is not None}
    found: dict[tuple[str, bool], ComparedModel] = {}
    for item in answers:
        key = str(item.target.path), item.target.eager
        made = _compared(answers[0], item, accepted.get(item.model))
        before = found.get(key)
        if before is None or (made.max_difference or 0) > (before.max_difference or 0):
            found[key] = made
    return list(found.values())


def reason_against_answers(item: Answers, model: ComparedModel, measured: Floats) -> Reason | None:
    """Return why a case is no measurement of its model: its answers differ.

    `measured` are the logits of the batch that was measured, after the measurement; its inputs are
    the generated ones in turn, whose answers were compared before. A file that another tool has
    changed has no proof in its card, so it is held to the labels of the first target.
    """
    expected = np.resize(item.logits[:INPUTS], measured.shape)
    difference = numbers.compare_numbers(expected, measured, item.precision)
    if not difference.passed:
        return Reason(
            "answers differ",
            f"a batch of {len(measured)} has other logits than its images alone had before "
            f"(by {difference.max_abs:.2g}, bound {difference.bound:.2g})",
        )
    if model.relation == "changed file" and model.other_labels:
        return Reason(
            "answers differ",
            f"{model.other_labels} of {model.compared_inputs} labels, in a file that another tool "
            "has changed",
        )
    return None


def _require_proof(item: Answers) -> None:
    proof = item.card.proof
    if proof is None:
        return
    tolerance = proof_tolerance(proof, item.precision)
    if item.rounded:
        tolerance = PROOF_TOLERANCES["int8"]
    try:
        difference = proof_difference(proof, item.logits[: len(proof.logits)])
        found = f"relative difference {difference:.2g}, accepted {tolerance:.2g}"
    except ModelFileError as error:  # outputs for other classes
        difference, found = math.inf, str(error)
    if not difference <= tolerance:
        raise RefusedError(
            f"{item.target.name} does not compute what its card says ({found}): nothing to compare",
            hint=f"{shell_words('rtl', 'verify', item.target.path)} says where it differs",
        )


def _require_same(first: Answers, item: Answers) -> None:
    difference = numbers.compare_numbers(first.logits, item.logits)
    if not difference.passed:
        raise RefusedError(
            f"{item.target.name} and {first.target.name} have the same model on their cards, in "
            f"float32, and give different answers ({difference.max_abs:.2g}, bound "
            f"{difference.bound:.2g}): nothing to compare",
            hint="rtl verify MODEL says which one is wrong",
        )


def _compared(first: Answers, item: Answers, accepted: Acceptance | None) -> ComparedModel:
    card, same_classes = item.card, sorted(item.card.classes) == sorted(first.card.classes)
    compared = min(len(first.logits), len(item.logits)) if _comparable(first, item) else 0
    difference, other_labels = None, None
    if same_classes and compared:
        order = [card.classes.index(name) for name in first.card.classes]
        distance = np.abs(item.logits[:compared, order] - first.logits[:compared])
        difference = float(distance.max())
        labels, expected = _labels(item, order)[:compared], _labels(first)[:compared]
        other_labels = int((labels != expected).any(axis=1).sum())
    known = (None, None, None) if item.changed else _accuracy(card, accepted)
    accuracy, images, split = known
    return ComparedModel(
        target=item.target.name,
        model=str(item.target.path),
        architecture=card.architecture,
        precision=item.precision,
        input=card.input,
        batch=card.batch,
        classes=len(card.classes),
        image_size=card.preprocessing.size,
        accuracy=accuracy,
        accuracy_images=images,
        accuracy_split=split,
        relation=_relation(first, item),
        compared_inputs=compared if same_classes else 0,
        max_difference=difference,
        other_labels=other_labels,
        weights_sha256=card.weights.sha256,
    )


def _comparable(first: Answers, item: Answers) -> bool:
    """Return whether two targets were asked about the same pixels, for answers of one kind."""
    same_pixels = first.card.preprocessing.size == item.card.preprocessing.size
    return same_pixels and first.card.task == item.card.task


def _relation(first: Answers, item: Answers) -> Relation:
    if item.target.path == first.target.path and item.target.eager == first.target.eager:
        return "first"
    if item.model != first.model:
        return "other model"
    if item.changed:
        return "changed file"
    return "same model" if item.precision == first.precision else "other precision"


def _labels(item: Answers, order: Sequence[int] | None = None) -> NDArray[Any]:
    """Return one row for each input: the label, or which classes are predicted.

    `order` are the columns in the order of other classes.
    """
    logits, probabilities = item.logits, item.probabilities
    if order is not None:
        logits, probabilities = logits[:, order], probabilities[:, order]
    if item.card.task == "multi-label":
        return np.asarray(probabilities >= item.card.label_threshold)
    return np.asarray(logits.argmax(axis=1))[:, None]


def _accuracy(
    card: Card, accepted: Acceptance | None
) -> tuple[float | None, int | None, str | None]:
    """Return (accuracy, images, split) as the cards have them; None each where they have none.

    `accepted` is from a file of the same model in a lower precision. It knows the accuracy in
    float32 too, on the same images as its own.
    """
    if card.acceptance is not None:
        return card.acceptance.accuracy_after, card.acceptance.images, "val"
    if card.precision == "fp32" and accepted is not None:
        return accepted.accuracy_before, accepted.images, "val"
    if card.metrics is not None:
        return card.metrics.accuracy, card.metrics.images, card.metrics.split
    return None, None, None
