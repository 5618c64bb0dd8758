"""Correlation alignment: the covariances of two samples are brought together.

B. Sun, K. Saenko: Deep CORAL: Correlation Alignment for Deep Domain Adaptation, ECCV 2016
workshops, arXiv 1607.01719.
"""

from __future__ import annotations

from torch import Tensor


def coral(source: Tensor, target: Tensor) -> Tensor:
    """Return |cov(source) - cov(target)|² / (4 · features²), by the Frobenius norm; a scalar.

    `source` is float32 [m, features] and `target` [n, features], of two rows or more each. The
    covariances divide by the number of rows minus one.
    """
    width = source.shape[1]
    difference = covariance(source) - covariance(target)
    return difference.square().sum() / (4 * width * width)


def covariance(rows: Tensor) -> Tensor:
    """Return the covariance of the columns, float32 [features, features]."""
    centred = rows - rows.mean(dim=0, keepdim=True)
    return centred.T @ centred / (len(rows) - 1)
