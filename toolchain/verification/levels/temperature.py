"""Whether a temperature of a file's own, which int8 files may have, is one that images support."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolchain.data.layouts import Label
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.verification.levels.probabilities import expected_probabilities

LOWEST, HIGHEST = 0.05, 20.0
"""Calibration gives no temperature outside of this range."""
STANDARD_ERRORS = 2.0
"""How many standard errors worse than the run's a file's own temperature must be to be refused."""
LEAST_PROBABILITY = 1e-12


def temperature_reason(
    run_card: Card, card: Card, found: ModelOutputs, labels: Sequence[Label]
) -> str | None:
    """Return why the temperature of a file's own can't be accepted; None where it can.

    Its loss on the validation images must not be worse than at the run's temperature by more than
    chance explains.
    """
    own, runs = card.temperature, run_card.temperature
    words = f"temperature {own:g}, the run's is {runs:g}"
    if not LOWEST <= own <= HIGHEST:
        return f"{words}: outside of {LOWEST:g} to {HIGHEST:g}"
    if not len(labels):
        return f"{words}: without labels of the same task it can't be judged"
    worse = _losses(found, labels, card, own) - _losses(found, labels, card, runs)
    error = float(worse.std() / np.sqrt(len(worse)))
    if float(worse.mean()) > STANDARD_ERRORS * error + 1e-9:
        return f"{words}: it raises the loss on the validation images by {float(worse.mean()):.2g}"
    return None


def _losses(
    found: ModelOutputs, labels: Sequence[Label], card: Card, temperature: float
) -> NDArray[np.float64]:
    """Return the loss of each image in nats; multi-label: the mean over the classes."""
    probabilities = expected_probabilities(
        found.logits.astype(np.float64), temperature, card.task
    ).clip(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    if card.task == "single-label":
        right = probabilities[np.arange(len(labels)), np.asarray(labels, np.int64)]
        return np.asarray(-np.log(right))
    truth = np.zeros(probabilities.shape, bool)
    for row, label in zip(truth, labels, strict=True):
        row[list(label) if isinstance(label, tuple) else label] = True
    return np.asarray(-np.log(np.where(truth, probabilities, 1 - probabilities)).mean(axis=1))
