"""From logits to probabilities: does a file go the way that its card describes?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolchain.runtime.card import Card, Task
from toolchain.runtime.model_inputs import ModelOutputs

TOLERANCE = 1e-4
"""Of a probability. Float32 arithmetic is a thousandth of it off."""
SURE = 1e-5
"""Probabilities nearer to 0 or 1 say too little about the temperature."""

Doubles = NDArray[np.float64]


def where_outputs_part(card: Card, outputs: ModelOutputs) -> str | None:
    """Name the stage behind the network that does not do what the card says; None where all do.

    It needs nothing but a file's own (probabilities, logits), so a lone file shows it too.
    """
    found, logits = (values.astype(np.float64) for values in outputs)
    if not np.isfinite(logits).all():
        return None  # the fault lies before
    difference = _off(found, expected(logits, card.temperature, card.task))
    if difference <= TOLERANCE:
        return None
    off = f"the probabilities are off by {difference:.2g}, allowed {TOLERANCE:g}"
    used = _temperature(found, logits, card.task)
    if used is not None:
        return f"temperature (Div): {used:.4g} instead of {card.temperature:.4g}, {off}"
    if card.task == "multi-label":
        return f"sigmoid (Sigmoid): {off}"
    twice = expected(expected(logits, card.temperature, card.task), 1.0, card.task)
    again = ", it is applied twice" if _off(found, twice) <= TOLERANCE else ""
    return f"softmax (Softmax): {off}{again}"


def expected(logits: Doubles, temperature: float, task: Task) -> Doubles:
    """Return softmax(logits / temperature), for multi-label the sigmoid of each."""
    scaled = logits / temperature
    if task == "multi-label":
        return np.asarray((1 + np.tanh(scaled / 2)) / 2)  # exp would overflow
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _off(found: Doubles, reference: Doubles) -> float:
    return float(np.abs(found - reference).max())


def _temperature(found: Doubles, logits: Doubles, task: Task) -> float | None:
    """Return the temperature that explains all probabilities, where one does."""
    inside = (found > SURE) & (found < 1 - SURE)
    safe = np.where(inside, found, 0.5)
    if task == "multi-label":
        scaled, of = np.log(safe / (1 - safe))[inside], logits[inside]
    else:
        # Differences to the image's first sure class: what softmax leaves of the logits.
        first = inside.argmax(axis=1)[:, None]
        scaled = (np.log(safe) - np.log(np.take_along_axis(safe, first, axis=1)))[inside]
        of = (logits - np.take_along_axis(logits, first, axis=1))[inside]
    squares = float((scaled * scaled).sum())
    if not squares:
        return None
    used = float((of * scaled).sum()) / squares
    if used > 0 and _off(found, expected(logits, used, task)) <= TOLERANCE:
        return used
    return None
