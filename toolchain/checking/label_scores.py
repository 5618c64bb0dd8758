"""How well labels agree with what the other images teach: from features to suspected labels.

Each image is judged by classifiers that were fitted without it. Its self-confidence is the
probability that they give its own label; where that is low, the label may be wrong. How many are is
estimated by the confident joint (C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating
Uncertainty in Dataset Labels", JAIR 70, 2021).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolchain.metrics.calibration import fit_temperature
from toolchain.metrics.linear_probe import out_of_fold, softmax
from toolchain.metrics.outputs import Outputs

L2 = 1.0
"""Strong, so that single wrong labels hardly move the classifier. Of 0.003 to 1 it found the most
planted errors on three sets."""
REPEATS, MANY = 3, 5_000
"""Draws of the folds whose logits are averaged; one alone above this number of images."""
NEIGHBOURS = 3

Features = NDArray[np.float64]
Labels = NDArray[np.int64]


class LabelScores(NamedTuple):
    """What the features say about the labels of some images."""

    probabilities: Features
    """float64 [images, classes], calibrated; of each image by classifiers fitted without it."""
    joint: Labels
    """The confident joint, int64 [classes, classes]: images with one label that are, with
    confidence, of another class."""
    confident: Labels
    """int64 [images]: the class that each image counts for in the joint; -1 for none."""
    order: Labels
    """int64 [images]: indices, the lowest self-confidence first."""
    neighbours: Labels
    """int64 [images, up to NEIGHBOURS]: the images with the most similar features."""


def score_labels(features: NDArray[np.floating], labels: Labels, classes: int) -> LabelScores:
    """Return the scores of images from their features [images, features] and labels [images]."""
    prepared = _prepared(features)
    repeats = 1 if len(labels) > MANY else REPEATS
    draws = [out_of_fold(prepared, labels, classes, l2=L2, seed=seed) for seed in range(repeats)]
    logits = np.mean(draws, axis=0)
    temperature = fit_temperature(Outputs(logits.astype(np.float32), labels))
    probabilities = softmax(logits / temperature)
    confident = confident_class(probabilities, labels)
    joint = np.zeros((classes, classes), np.int64)
    counted = confident >= 0
    np.add.at(joint, (labels[counted], confident[counted]), 1)
    own = probabilities[np.arange(len(labels)), labels]
    order = np.argsort(own, kind="stable")
    return LabelScores(probabilities, joint, confident, order, _neighbours(prepared))


def confident_class(probabilities: Features, labels: Labels) -> Labels:
    """Return the class that each image is of with confidence, int64 [images]; -1 for none.

    That is a class whose probability is at least its mean over the images that are labelled so; of
    several the most probable.
    """
    classes = probabilities.shape[1]
    usual = np.array([
        probabilities[labels == label, label].mean() if (labels == label).any() else np.inf
        for label in range(classes)
    ])  # fmt: skip
    enough = probabilities >= usual - 1e-9
    best = np.where(enough, probabilities, -1.0).argmax(axis=1)
    found: Labels = np.where(enough.any(axis=1), best, -1)
    return found


def _prepared(features: NDArray[np.floating]) -> Features:
    """Return features with columns of one scale and rows of length 1."""
    columns = features.astype(np.float64)
    columns -= columns.mean(axis=0)
    columns /= np.maximum(columns.std(axis=0), 1e-9)
    lengths = np.linalg.norm(columns, axis=1, keepdims=True)
    prepared: Features = columns / np.maximum(lengths, 1e-9)
    return prepared


def _neighbours(prepared: Features, block: int = 1024) -> Labels:
    count = min(NEIGHBOURS, len(prepared) - 1)
    found = np.zeros((len(prepared), count), np.int64)
    for start in range(0, len(prepared), block):
        rows = slice(start, start + block)
        similar = prepared[rows] @ prepared.T
        own = np.arange(start, start + len(similar))
        similar[np.arange(len(similar)), own] = -np.inf
        found[rows] = np.argsort(-similar, axis=1, kind="stable")[:, :count]
    return found
