"""Check that a file's probabilities follow from its logits by its card's task and temperature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolchain.runtime.card import Card, Task
from toolchain.runtime.model_inputs import ModelOutputs

PROBABILITY_TOLERANCE = 1e-4
"""Allowed difference of a probability; float32 arithmetic is off by a thousandth of this."""
SATURATED = 1e-5
"""Probabilities nearer to 0 or 1 than this are too inexact to compute a temperature from."""

Doubles = NDArray[np.float64]


def wrong_probability_stage(card: Card, outputs: ModelOutputs) -> str | None:
    """Name the stage from logits to probabilities that is not the card's; None where all are.

    It is the temperature, the softmax or the sigmoid. A file's own outputs are enough for this, so
    it needs no reference. Also None for logits that are not finite: an earlier stage is at fault.
    """
    probabilities, logits = (values.astype(np.float64) for values in outputs)
    if not np.isfinite(logits).all():
        return None
    difference = _difference(
        probabilities, expected_probabilities(logits, card.temperature, card.task)
    )
    if difference <= PROBABILITY_TOLERANCE:
        return None
    off = f"the probabilities are off by {difference:.2g}, allowed {PROBABILITY_TOLERANCE:g}"
    used = _temperature_used(probabilities, logits, card.task)
    if used is not None:
        return f"temperature (Div): {used:.4g} instead of {card.temperature:.4g}, {off}"
    if card.task == "multi-label":
        return f"sigmoid (Sigmoid): {off}"
    once = expected_probabilities(logits, card.temperature, card.task)
    twice = expected_probabilities(once, 1.0, card.task)
    is_twice = _difference(probabilities, twice) <= PROBABILITY_TOLERANCE
    return f"softmax (Softmax): {off}" + (", it is applied twice" if is_twice else "")


def expected_probabilities(logits: Doubles, temperature: float, task: Task) -> Doubles:
    """Return softmax(logits / temperature) over the classes, for multi-label the sigmoid of each.

    Both arrays are float64 [images, classes].
    """
    scaled = logits / temperature
    if task == "multi-label":
        return np.asarray((1 + np.tanh(scaled / 2)) / 2)  # exp would overflow
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _difference(found: Doubles, reference: Doubles) -> float:
    return float(np.abs(found - reference).max())


def _temperature_used(probabilities: Doubles, logits: Doubles, task: Task) -> float | None:
    """Return the temperature that explains all probabilities, where one does.

    It is the slope of the logits over the divided logits, which follow from the probabilities, by
    least squares through the origin.
    """
    usable = (probabilities > SATURATED) & (probabilities < 1 - SATURATED)
    safe = np.where(usable, probabilities, 0.5)
    if task == "multi-label":
        divided, original = np.log(safe / (1 - safe))[usable], logits[usable]
    else:
        # Differences to the image's first usable class: what softmax keeps of the logits.
        first = usable.argmax(axis=1)[:, None]
        logs = np.log(safe)
        divided = (logs - np.take_along_axis(logs, first, axis=1))[usable]
        original = (logits - np.take_along_axis(logits, first, axis=1))[usable]
    squares = float((divided * divided).sum())
    if not squares:
        return None
    used = float((original * divided).sum()) / squares
    if used <= 0:
        return None
    explained = expected_probabilities(logits, used, task)
    return used if _difference(probabilities, explained) <= PROBABILITY_TOLERANCE else None
