"""The classes of the source as a mixture, moved to where the photographs of a target lie.

Another camera moves the features of all classes alike; another mix of classes moves their mean
alone. A mean can't tell one from the other, and matching it costs accuracy where classes are rarer
at the target. So the logits of a target are fitted by a mixture of the source's classes, whose
shares, common shift, contrast and covariance are free. Only differences of logits decide over a
label, so all is done in the classes - 1 directions in which logits differ.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

ROUNDS = 60
CONVERGED = 1e-3
"""Gain of the likelihood's logarithm in a round, below which the search ends."""
SHARE_WEIGHT = 10.0
"""So many images for each class are added to the shares, as the source has them. With 2 a grey
camera is taken for another mix of classes (food3: 4 points gained, and 15 with 10)."""
SPREAD_WEIGHT = 10.0
"""So many images are added to contrast and covariance, as the source has them."""
LEAST_CONTRAST = 0.2
RIDGE = 1e-6


class Source(NamedTuple):
    """What is known of the classes from training images, d = classes - 1."""

    means: Matrix
    """[classes, d]."""
    covariance: Matrix
    """[d, d], within a class."""
    shares: Matrix
    """[classes]."""
    centre: Matrix
    """[d], of all images."""


class Mixture(NamedTuple):
    """The classes at the target."""

    shares: Matrix
    """[classes]."""
    shift: Matrix
    """[d], of all classes."""
    contrast: float
    """How far apart the classes are, relative to the source."""
    posterior: Matrix
    """[images, classes]: how probable each class is for each image."""
    score: float
    """Logarithm of the likelihood, with what is known beforehand of the shares."""


def directions(classes: int) -> Matrix:
    """Return an orthonormal basis [classes, classes - 1] of the differences of logits."""
    return np.linalg.svd(np.eye(classes) - 1 / classes)[0][:, : classes - 1]


def differences(logits: Matrix) -> Matrix:
    """Return logits [images, classes] in `directions`: [images, classes - 1]."""
    return logits @ directions(logits.shape[1])


def source_classes(points: Matrix, labels: NDArray[np.int64], classes: int) -> Source:
    """Return the classes of the source from `points` [images, d], of which each class has some."""
    means = np.stack([points[labels == label].mean(axis=0) for label in range(classes)])
    within = points - means[labels]
    covariance = within.T @ within / len(points)
    ridge = RIDGE * (np.trace(covariance) / len(covariance) + RIDGE)
    shares = np.bincount(labels, minlength=classes) / len(labels)
    return Source(means, covariance + ridge * np.eye(len(covariance)), shares, shares @ means)


def fit(points: Matrix, source: Source, *, moved: bool, start: Matrix | None = None) -> Mixture:
    """Fit the shares and, where it may have `moved`, the shift of the classes to target points.

    `points` are [images, d]; `start` is the shift to begin at. By expectation maximisation.
    """
    shares, contrast, covariance = source.shares, 1.0, source.covariance
    shift = np.zeros(points.shape[1]) if start is None else start
    relative = source.means - source.centre
    added = SHARE_WEIGHT * len(shares)
    posterior, likelihood, last = np.empty(0), 0.0, -np.inf
    for _ in range(ROUNDS):
        means = source.centre + shift + contrast * relative
        posterior, likelihood = _posterior(points, means, covariance, shares)
        if likelihood - last < CONVERGED:
            break
        last = likelihood
        counts = posterior.sum(axis=0)
        shares = (counts + added * source.shares) / (len(points) + added)
        if moved:
            centre_of_mix = contrast * (counts @ relative) / len(points)
            shift = points.mean(axis=0) - source.centre - centre_of_mix
        rest = points - source.centre - shift
        contrast = _contrast(rest, relative, covariance, posterior)
        known = SPREAD_WEIGHT * contrast**2 * source.covariance
        scatter = _scatter(rest, contrast * relative, posterior)
        covariance = (scatter + known) / (len(points) + SPREAD_WEIGHT)
    prior = added * float(source.shares @ np.log(shares / source.shares))
    return Mixture(shares, shift, contrast, posterior, likelihood + prior)


def fit_moved(points: Matrix, source: Source) -> Mixture:
    """Return the best mixture with a shift; the search begins at none, half and all of the mean's.

    Several mixtures may fit: one whose classes have moved, one whose shares have changed.
    """
    mean = points.mean(axis=0) - source.centre
    starts = [np.zeros_like(mean), mean / 2, mean]
    found = [fit(points, source, moved=True, start=start) for start in starts]
    return max(found, key=lambda mixture: mixture.score)


def _posterior(
    points: Matrix, means: Matrix, covariance: Matrix, shares: Matrix
) -> tuple[Matrix, float]:
    """Return (probabilities [images, classes], logarithm of the likelihood of all points)."""
    whiten = np.linalg.inv(np.linalg.cholesky(covariance)).T
    white, white_means = points @ whiten, means @ whiten
    distance = (
        (white**2).sum(axis=1)[:, None] - 2 * white @ white_means.T + (white_means**2).sum(axis=1)
    )
    size = np.linalg.slogdet(covariance)[1] + len(covariance) * np.log(2 * np.pi)
    joint = np.log(shares) - (distance + size) / 2
    most = joint.max(axis=1, keepdims=True)
    powers = np.exp(joint - most)
    total = powers.sum(axis=1, keepdims=True)
    return powers / total, float((np.log(total) + most).sum())


def _scatter(rest: Matrix, means: Matrix, posterior: Matrix) -> Matrix:
    """Return the sum over images and classes of the weighted outer products of their distance."""
    assigned = posterior @ means
    crossed = rest.T @ assigned
    between = (means.T * posterior.sum(axis=0)) @ means
    made: Matrix = rest.T @ rest - crossed - crossed.T + between
    return made


def _contrast(rest: Matrix, relative: Matrix, covariance: Matrix, posterior: Matrix) -> float:
    """Return the contrast of classes at `relative` [classes, d] that fits `rest` [images, d]."""
    weighted = relative @ np.linalg.inv(covariance)
    along = float(((posterior @ weighted) * rest).sum())
    across = float(posterior.sum(axis=0) @ (weighted * relative).sum(axis=1))
    return max(LEAST_CONTRAST, (along + SPREAD_WEIGHT) / (across + SPREAD_WEIGHT))
