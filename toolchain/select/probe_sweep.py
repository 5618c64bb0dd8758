"""Linear probes on each stage's features, the last two and all, over strengths of their penalty."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolchain.metrics.linear_probe import fit, softmax
from toolchain.networks.head_stages import STAGES, STAGES_READ
from toolchain.runtime.card import HeadStages
from toolchain.select.inputs import Pool
from toolchain.training.features.pooled import StageFeatures

PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Strengths of the penalty that are tried, the simplest classifier first."""
SCALINGS = (0.5, 0.0, 1.0)
"""How far the features are standardised. On food3 a common scale (0) has an out-of-fold cross
entropy of 0.25 nats where whole standardising (1) has 0.31; on hymenoptera 1 is the best."""
COARSE_PENALTIES = (1.0, 0.1, 0.01)
"""For features other than those of the last stage."""
READ_NAMES: dict[HeadStages, str] = {
    "last": STAGES[-1],
    "last-two": "layer3 and layer4",
    "all": "all four stages",
}
"""How the features are named that a head can read."""


class Probe(NamedTuple):
    """The best probe on some of the features, and where it is right out of fold."""

    features: str
    l2: float
    scaling: float
    loss: float
    """Mean out-of-fold cross entropy in nats."""
    right: dict[int, NDArray[np.bool_]]
    """Fold → on which of its images it is right."""
    seconds: float = 0.0
    head_stages: HeadStages | None = None
    """The setting with which a classifier reads these features; None where none does."""

    @property
    def all_right(self) -> NDArray[np.bool_]:
        """On which images it is right, the folds one after another."""
        return np.concatenate([self.right[fold] for fold in sorted(self.right)])


def sweep_probes(features: StageFeatures, pool: Pool, classes: int, until: float) -> list[Probe]:
    """Return the best probe of each set of features, that of the last stage first.

    Penalties are compared by the out-of-fold cross entropy, which changes smoothly: the accuracy of
    the best of several would be luck more often. After `until`, as `time.monotonic` counts, only
    what is begun is finished.
    """
    found: list[Probe] = []
    for head_stages, stages in STAGES_READ.items():
        if found and time.monotonic() > until:
            return found
        columns = np.concatenate([features[stage] for stage in stages], axis=1)
        grid = (SCALINGS[:1], COARSE_PENALTIES) if found else (SCALINGS, PENALTIES)
        probe = best_probe(READ_NAMES[head_stages], columns, pool, classes, grid, until)
        found.append(probe._replace(head_stages=head_stages))
    for stage in reversed(STAGES[:-1]):
        if time.monotonic() > until:
            break
        grid = (SCALINGS[:1], COARSE_PENALTIES)
        found.append(best_probe(stage, features[stage], pool, classes, grid, until))
    return found


def best_probe(
    name: str,
    features: NDArray[np.float32],
    pool: Pool,
    classes: int,
    grid: tuple[Sequence[float], Sequence[float]],
    until: float = math.inf,
) -> Probe:
    """Return the probe with the lowest out-of-fold cross entropy over `grid`.

    `grid` has scalings, and penalties from the strongest on. After `until` the best so far is
    returned, as `time.monotonic` counts.
    """
    started = time.monotonic()
    best: Probe | None = None
    for scaling in grid[0]:
        before = math.inf
        for l2 in grid[1]:
            if best is not None and time.monotonic() > until:
                return best._replace(seconds=time.monotonic() - started)
            probe = _out_of_fold(name, features, pool, classes, l2, scaling)
            if best is None or probe.loss < best.loss:
                best = probe
            if probe.loss > before:
                break  # over the penalty the loss has one valley
            before = probe.loss
    assert best is not None
    return best._replace(seconds=time.monotonic() - started)


def _out_of_fold(
    name: str,
    features: NDArray[np.float32],
    pool: Pool,
    classes: int,
    l2: float,
    scaling: float,
) -> Probe:
    labels = np.array([sample.labels[0] for sample in pool.samples])
    right: dict[int, NDArray[np.bool_]] = {}
    losses = []
    for fold in pool.folds:
        held_out = pool.fold_of == fold
        probe = fit(features[~held_out], labels[~held_out], classes, l2, scaling)
        logits, truth = probe.logits(features[held_out]), labels[held_out]
        right[fold] = logits.argmax(1) == truth
        losses.append(-np.log(np.maximum(softmax(logits)[np.arange(len(truth)), truth], 1e-12)))
    return Probe(name, l2, scaling, float(np.concatenate(losses).mean()), right)
