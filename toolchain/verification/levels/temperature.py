"""Whether a temperature of a file's own, which int8 files may have, is one that images support."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolchain.data.layouts import Label
from toolchain.runtime.card import Card, Task
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
    task = card.task
    at_own, at_runs = (losses(found.logits, labels, task, t) for t in (own, runs))
    worse = at_own - at_runs
    error = float(worse.std() / np.sqrt(len(worse)))
    if float(worse.mean()) > STANDARD_ERRORS * error + 1e-9:
        return f"{words}: it raises the loss on the validation images by {float(worse.mean()):.2g}"
    return None


def losses(
    logits: NDArray[np.float32], labels: Sequence[Label], task: Task, temperature: float
) -> NDArray[np.float64]:
    """Return the loss of each image in nats; multi-label: the mean over the classes."""
    probabilities = expected_probabilities(logits.astype(np.float64), temperature, task).clip(
        LEAST_PROBABILITY, 1 - LEAST_PROBABILITY
    )
    if task == "single-label":
        right = probabilities[np.arange(len(labels)), np.asarray(labels, np.int64)]
        return np.asarray(-np.log(right))
    truth = truth_of(labels, probabilities.shape[1])
    return np.asarray(-np.log(np.where(truth, probabilities, 1 - probabilities)).mean(axis=1))


def truth_of(labels: Sequence[Label], classes: int) -> NDArray[np.bool_]:
    """Return the classes that each image has, bool [images, classes]."""
    truth = np.zeros((len(labels), classes), bool)
    for row, label in zip(truth, labels, strict=True):
        row[list(label) if isinstance(label, tuple) else label] = True
    return truth
