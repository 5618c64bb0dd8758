"""A linear classifier on features (multinomial logistic regression), and what it says of each image
without having seen it. Needs numpy only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

MEMORY = 10
"""Pairs of steps and changes of the slope from which L-BFGS estimates the curvature."""
STEPS = 200
"""Most steps of a fit; features of standardised columns need 20 to 60."""
TOLERANCE = 1e-4
"""A fit ends where no component of the slope is larger, in nats for a unit of weight."""
SUFFICIENT, SHORTEST = 1e-4, 2.0**-20
"""A step is taken where it lowers the loss by this share of what the slope promises; a step that
has been halved to the second figure ends the fit."""


@dataclass(frozen=True)
class LinearProbe:
    """A fitted classifier: softmax(standardised features @ weights + bias)."""

    mean: Matrix
    """Of each column of the features it was fitted on, float64 [features]."""
    scale: Matrix
    """Standard deviation of each column; 1 where a column is constant."""
    weights: Matrix
    """float64 [features, classes]."""
    bias: Matrix
    """float64 [classes]."""

    def logits(self, features: NDArray[np.floating]) -> Matrix:
        """Return float64 [images, classes] of features [images, features]."""
        return (features - self.mean) / self.scale @ self.weights + self.bias

    def probabilities(self, features: NDArray[np.floating]) -> Matrix:
        """Return float64 [images, classes], each row adding up to 1."""
        return softmax(self.logits(features))


def fit(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    classes: int,
    l2: float = 1e-2,
    scaling: float = 1.0,
) -> LinearProbe:
    """Return the probe with the least mean cross entropy + l2 / 2 · |weights|².

    `features` are [images, features], `labels` int64 [images] in 0…classes - 1. The columns are
    standardised first, so that `l2` means the same for each. With a `scaling` below 1 columns that
    vary more keep a part of that, and with 0 all of it: all are divided by the same number. The
    bias has no penalty. The result depends on nothing random.
    """
    return _fitted(features, np.eye(classes)[labels], l2, scaling, _softmax_loss)


def fit_each_label(
    features: NDArray[np.floating],
    labels: NDArray[np.bool_],
    l2: float = 1e-2,
    scaling: float = 1.0,
) -> LinearProbe:
    """Return a probe for each label of images that have any number of them, as one.

    `labels` are bool [images, classes]. Logits above 0 are of labels that an image has rather than
    not; the loss is the sum of the labels' mean binary cross entropies. All else is as in `fit`.
    """
    return _fitted(features, labels.astype(np.float64), l2, scaling, _sigmoid_loss)


Loss = Callable[[Matrix, Matrix], tuple[float, Matrix]]
"""From logits and truth, float64 [images, classes], to (mean loss in nats, probabilities)."""


def _softmax_loss(logits: Matrix, truth: Matrix) -> tuple[float, Matrix]:
    probabilities = softmax(logits)
    likelihood = np.maximum((probabilities * truth).sum(axis=1), np.finfo(np.float64).tiny)
    return float(-np.log(likelihood).mean()), probabilities


def _sigmoid_loss(logits: Matrix, truth: Matrix) -> tuple[float, Matrix]:
    size = np.exp(-np.abs(logits))
    each = np.maximum(logits, 0) - logits * truth + np.log1p(size)
    return float(each.sum(axis=1).mean()), np.where(logits >= 0, 1, size) / (1 + size)


def _fitted(
    features: NDArray[np.floating], truth: Matrix, l2: float, scaling: float, loss_of: Loss
) -> LinearProbe:
    mean, scale = _columns(features, scaling)
    inputs = (features - mean) / scale
    (count, width), classes = inputs.shape, truth.shape[1]

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        weights, bias = flat[: width * classes].reshape(width, classes), flat[width * classes :]
        data_loss, probabilities = loss_of(inputs @ weights + bias, truth)
        rest = (probabilities - truth) / count
        slope = np.concatenate([(inputs.T @ rest + l2 * weights).ravel(), rest.sum(axis=0)])
        return data_loss + float(l2 / 2 * (weights**2).sum()), slope

    found = _minimised(loss, np.zeros(width * classes + classes))
    weights = found[: width * classes].reshape(width, classes)
    return LinearProbe(mean, scale, weights, found[width * classes :])


def out_of_fold(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    classes: int,
    *,
    l2: float = 1e-2,
    folds: int = 5,
    seed: int = 0,
) -> Matrix:
    """Return the logits of each image by a probe that was fitted without it.

    They are float64 [images, classes]. The folds have the classes in equal proportions; `seed`
    draws other folds. A class whose images all lie in one fold has no image in the fit.
    """
    fold_of = stratified_folds(labels, folds, seed)
    logits = np.zeros((len(labels), classes))
    for fold in np.unique(fold_of):
        held_out = fold_of == fold
        probe = fit(features[~held_out], labels[~held_out], classes, l2)
        logits[held_out] = probe.logits(features[held_out])
    return logits


def stratified_folds(labels: NDArray[np.int64], folds: int, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold of each image, int64 [images] in 0…folds - 1.

    Each class is spread as evenly as its number of images allows; which images share a fold is
    drawn by `seed`. With fewer images than folds each has a fold of its own.
    """
    folds = min(folds, len(labels))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold_of = np.empty(len(labels), np.int64)
    # Dealt out one after another over all classes: no fold is larger by more than one image.
    fold_of[by_class] = np.arange(len(labels)) % max(folds, 1)
    return fold_of


def softmax(logits: Matrix) -> Matrix:
    """Return probabilities of logits [images, classes], in float64."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Matrix = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


def _columns(features: NDArray[np.floating], scaling: float) -> tuple[Matrix, Matrix]:
    """Return (mean, divisor) of each column; the divisor of a constant one is 1.

    It is the standard deviation to the power `scaling`, times the mean deviation to the rest of 1.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    deviation = features.std(axis=0, dtype=np.float64)
    varies = deviation > 1e-12
    if scaling == 1 or not varies.any():
        return mean, np.where(varies, deviation, 1.0)
    common = deviation[varies].mean() ** (1 - scaling)
    return mean, np.where(varies, np.where(varies, deviation, 1.0) ** scaling * common, 1.0)


def _minimised(function: Callable[[Matrix], tuple[float, Matrix]], start: Matrix) -> Matrix:
    """Return where a smooth convex function is lowest, by L-BFGS with a halving line search.

    `function` returns its value and its slope. Method: J. Nocedal, "Updating Quasi-Newton Matrices
    with Limited Storage", Mathematics of Computation 35 (1980).
    """
    point, (value, slope) = start, function(start)
    pairs: deque[tuple[Matrix, Matrix]] = deque(maxlen=MEMORY)
    for _ in range(STEPS):
        if np.abs(slope).max() <= TOLERANCE:
            break
        direction = -_curved(slope, pairs)
        length, falls = 1.0, float(slope @ direction)
        while True:
            moved = point + length * direction
            new_value, new_slope = function(moved)
            if new_value <= value + SUFFICIENT * length * falls:
                break
            length /= 2
            if length < SHORTEST:
                return point
        step, change = moved - point, new_slope - slope
        if step @ change > 1e-12 * (change @ change):  # else the estimate would not be convex
            pairs.append((step, change))
        point, value, slope = moved, new_value, new_slope
    return point


def _curved(slope: Matrix, pairs: deque[tuple[Matrix, Matrix]]) -> Matrix:
    """Return the slope times the inverse curvature that the pairs show."""
    direction = slope.copy()
    shares = []
    for step, change in reversed(pairs):
        share = (step @ direction) / (step @ change)
        direction -= share * change
        shares.append(share)
    if pairs:
        step, change = pairs[-1]
        direction *= (step @ change) / (change @ change)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        direction += step * (share - (change @ direction) / (step @ change))
    return direction
