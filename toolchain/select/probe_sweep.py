"""Linear probes on each stage's features, the last two and all, over strengths of their penalty."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolchain.metrics.linear_probe import fit, softmax
from toolchain.networks.split import STAGES
from toolchain.select.inputs import Pool
from toolchain.training.features.pooled import StageFeatures

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""Strengths of the penalty that are tried, the simplest classifier first."""
LAST_TWO, ALL = "layer3 and layer4", "all four stages"


class Probe(NamedTuple):
    """The best probe on some of the features, and where it is right out of fold."""

    features: str
    l2: float
    loss: float
    """Mean out-of-fold cross entropy in nats."""
    right: dict[int, NDArray[np.bool_]]
    """Fold → on which of its images it is right."""
    seconds: float

    @property
    def all_right(self) -> NDArray[np.bool_]:
        """On which images it is right, the folds one after another."""
        return np.concatenate([self.right[fold] for fold in sorted(self.right)])


def sweep_probes(features: StageFeatures, pool: Pool, classes: int) -> list[Probe]:
    """Return the best probe of each set of features, that of the last stage first.

    Penalties are compared by the out-of-fold cross entropy, which changes smoothly: the accuracy of
    the best of several would be luck more often.
    """
    labels = np.array([sample.labels[0] for sample in pool.samples])
    sets = {STAGES[-1]: features[STAGES[-1]]}
    sets[LAST_TWO] = np.concatenate([features[stage] for stage in STAGES[-2:]], axis=1)
    sets[ALL] = np.concatenate([features[stage] for stage in STAGES], axis=1)
    sets |= {stage: features[stage] for stage in reversed(STAGES[:-1])}
    return [_best(name, columns, labels, classes, pool) for name, columns in sets.items()]


def _best(
    name: str,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    pool: Pool,
) -> Probe:
    started = time.monotonic()
    found: list[Probe] = []
    for l2 in PENALTIES:
        probe = _out_of_fold(name, features, labels, classes, pool, l2)
        if found and probe.loss > found[-1].loss:
            break  # the loss over the penalty has one valley
        found.append(probe)
    return found[-1]._replace(seconds=time.monotonic() - started)


def _out_of_fold(
    name: str,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    pool: Pool,
    l2: float,
) -> Probe:
    right: dict[int, NDArray[np.bool_]] = {}
    losses = []
    for fold in pool.folds:
        held_out = pool.fold_of == fold
        probe = fit(features[~held_out], labels[~held_out], classes, l2)
        logits, truth = probe.logits(features[held_out]), labels[held_out]
        right[fold] = logits.argmax(1) == truth
        losses.append(-np.log(np.maximum(softmax(logits)[np.arange(len(truth)), truth], 1e-12)))
    return Probe(name, l2, float(np.concatenate(losses).mean()), right, 0.0)
