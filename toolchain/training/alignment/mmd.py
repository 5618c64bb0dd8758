"""Maximum mean discrepancy with several Gaussian kernels.

M. Long, Y. Cao, J. Wang, M. Jordan: Learning Transferable Features with Deep Adaptation Networks,
ICML 2015, arXiv 1502.02791; A. Gretton and others: A Kernel Two-Sample Test, JMLR 13 (2012).
"""

from __future__ import annotations

import torch
from torch import Tensor

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths of the kernels, relative to the mean squared distance of the points."""


def mmd(source: Tensor, target: Tensor) -> Tensor:
    """Return the squared discrepancy of two samples, 0 where they are the same; a scalar.

    `source` is float32 [m, features] and `target` [n, features]. With s the mean of |x - y|² over
    all pairs of different points, k(x, y) the mean of exp(-|x - y|² / (scale · s)) over SCALES:

        mean k(source, source) + mean k(target, target) - 2 · mean k(source, target)

    No gradient flows through s: the points would else be moved apart to widen the kernels.
    """
    points = torch.cat([source, target])
    squared = (points[:, None] - points[None]).square().sum(dim=2)
    count, m = len(points), len(source)
    width = (squared.detach().sum() / (count * (count - 1))).clamp_min(1e-12)
    kernel = torch.stack([torch.exp(-squared / (scale * width)) for scale in SCALES]).mean(dim=0)
    return kernel[:m, :m].mean() + kernel[m:, m:].mean() - 2 * kernel[:m, m:].mean()
