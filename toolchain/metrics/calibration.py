"""Temperature scaling, so that confidence matches accuracy, and the expected calibration error.

Method and error: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern
Neural Networks", ICML 2017, arXiv 1706.04599.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from toolchain.metrics.outputs import Outputs

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures stay in this range. Trained networks need about 0.5 to 5; a value further out comes
from a set that is too small, and would make every prediction near certain, or all alike."""
DECIMALS = 4
"""Decimals of a temperature. No set of images determines more, and rounding hides in which order a
sum was taken."""
HALVINGS = 40
"""Halvings of the range of log temperature, 6.0 wide: to 1e-11, well below the rounding."""
BINS = 15
"""Bins of the calibration error, as in the paper."""


def fit_temperature(outputs: Outputs) -> float:
    """Return the temperature T at which the mean loss of logits / T is lowest, within 0.05…20.

    `outputs` must be of images that the network was not trained on. One temperature scales all
    logits alike, so neither a prediction nor the accuracy changes.

    Returns 1.0 where no best T exists. Without a single wrong prediction (for multi-label: one
    class of one image) a smaller T always has a lower loss, which does not show how confident the
    network should be on images that it gets wrong. Logits that are all equal, or not finite, have
    no best T either.
    """
    logits = outputs.logits.astype(np.float64)
    # As T goes to 0, the slope of the loss tends to the mean gap between the largest logit and that
    # of the label: 0 means that every prediction is right, or that all logits are equal.
    if not np.isfinite(logits).all() or _mean_slope(logits, outputs, sharpness=math.inf) == 0:
        return 1.0
    # The loss is convex in 1 / T, so its slope changes sign once, and bisection finds where.
    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _mean_slope(logits, outputs, sharpness=math.exp(-middle)) > 0:
            low = middle
        else:
            high = middle
    return round(math.exp((low + high) / 2), DECIMALS)


def calibration_error(outputs: Outputs, temperature: float) -> float:
    """Return the expected calibration error in 0…1: how far confidence is from accuracy.

    Predictions are sorted into 15 bins of equal width by their confidence. The error is the mean
    over the predictions of |accuracy - mean confidence| of their bin (Guo et al., equation 3). A
    prediction is an image with the probability of its most probable class; for multi-label, each
    pair of an image and a class with the probability that the image has the class. NaN where a
    logit is not finite.
    """
    if not np.isfinite(outputs.logits).all():
        return math.nan
    probabilities = outputs.probabilities(temperature).astype(np.float64)
    if outputs.multi_label:
        confidence, right = probabilities.ravel(), outputs.truth.ravel()
    else:
        confidence = probabilities.max(axis=1)
        right = probabilities.argmax(axis=1) == outputs.labels
    # A bin includes its upper edge and not its lower one, as in the paper; 0 is in the first bin.
    bins = np.maximum(np.ceil(confidence * BINS).astype(np.int64) - 1, 0)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _mean_slope(logits: NDArray[np.float64], outputs: Outputs, sharpness: float) -> float:
    """Return the derivative of the mean loss with respect to the sharpness 1 / T.

    For cross entropy it is the mean of the logits weighted by their softmax, minus the logit of the
    label; for binary cross entropy it is logit · (probability - label).
    """
    if outputs.multi_label:
        return float((logits * (_sigmoid(logits, sharpness) - outputs.truth)).mean())
    # Relative to the largest logit, so that exp does not overflow at any sharpness.
    below = logits - logits.max(axis=1, keepdims=True)
    weights = (below == 0) if math.isinf(sharpness) else np.exp(below * sharpness)
    expected = (below * weights).sum(axis=1) / weights.sum(axis=1)
    return float((expected - below[np.arange(len(below)), outputs.labels]).mean())


def _sigmoid(logits: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    if math.isinf(sharpness):
        return np.heaviside(logits, 0.5)
    sigmoid: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * logits * sharpness))
    return sigmoid
