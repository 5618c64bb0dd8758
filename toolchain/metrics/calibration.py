"""Temperature scaling: probabilities that are right as often as they say.

Method and error measure: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern
Neural Networks", ICML 2017, arXiv 1706.04599.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from toolchain.metrics.outputs import Outputs

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures stay in this range. Trained networks need about 0.5 to 5; what is further out comes
from a set that is too small, and would make every answer look certain or every answer alike."""
DECIMALS = 4
"""Temperatures are rounded to this. No set of images tells more, and the order in which a sum is
taken does not show."""
HALVINGS = 40
"""Halvings of the range of log temperature, 6.0 wide: to 1e-11, well below the rounding."""
BINS = 15
"""Bins of the calibration error, as in the paper."""


def fit_temperature(outputs: Outputs) -> float:
    """Return the temperature T at which the mean loss of logits / T is lowest, within 0.05…20.

    The labels must not be those that the network was trained on. One temperature moves all answers
    alike, so no decision changes, and accuracy neither.

    1.0 where the labels have no say: without a single wrong answer, which for multi-label is one
    class of one image, a smaller T is always better, and that says nothing about errors to come;
    logits that are all equal, or not numbers, have no best T either.
    """
    logits = outputs.logits.astype(np.float64)
    # The slope of the loss as T goes to 0 is how far wrong answers are from the right ones.
    if not np.isfinite(logits).all() or _mean_slope(logits, outputs, sharpness=math.inf) == 0:
        return 1.0
    # The loss is convex in 1 / T, so its slope changes sign once, and halving finds where.
    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _mean_slope(logits, outputs, sharpness=math.exp(-middle)) > 0:
            low = middle
        else:
            high = middle
    return round(math.exp((low + high) / 2), DECIMALS)


def calibration_error(outputs: Outputs, temperature: float) -> float:
    """Return the expected calibration error in 0…1: how far confidence is from being right.

    The answers fall into 15 bins of equal width by their confidence; the error is the mean over the
    answers of |share that is right - mean confidence| of their bin (Guo et al., equation 3). An
    answer is an image with the probability of its best class; for multi-label it is every image and
    class with the probability of "yes". NaN where a logit is not a number.
    """
    if not np.isfinite(outputs.logits).all():
        return math.nan
    probabilities = outputs.probabilities(temperature).astype(np.float64)
    if outputs.multi_label:
        confidence, right = probabilities.ravel(), outputs.truth.ravel()
    else:
        confidence = probabilities.max(axis=1)
        right = probabilities.argmax(axis=1) == outputs.labels
    # A bin holds its upper edge and not its lower one, as in the paper; 0 joins the first.
    bins = np.maximum(np.ceil(confidence * BINS).astype(np.int64) - 1, 0)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _mean_slope(logits: NDArray[np.float64], outputs: Outputs, sharpness: float) -> float:
    """Return the slope of the mean loss over sharpness 1 / T.

    For cross entropy it is the mean logit by the softmax minus the label's logit; for binary cross
    entropy it is the logit times (probability - label).
    """
    if outputs.multi_label:
        return float((logits * (_sigmoid(logits, sharpness) - outputs.truth)).mean())
    # From the largest logit down, so that nothing overflows, however sharp.
    below = logits - logits.max(axis=1, keepdims=True)
    weights = (below == 0) if math.isinf(sharpness) else np.exp(below * sharpness)
    expected = (below * weights).sum(axis=1) / weights.sum(axis=1)
    return float((expected - below[np.arange(len(below)), outputs.labels]).mean())


def _sigmoid(logits: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    if math.isinf(sharpness):
        return np.heaviside(logits, 0.5)
    sigmoid: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * logits * sharpness))
    return sigmoid
