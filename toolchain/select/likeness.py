"""How like a data set is to what the network was trained on: what its features do, measured.

A linear probe is fitted on the pooled features of each stage, and on those of the same network with
random weights; each is asked about images that it was not fitted on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from toolchain.data.layouts import Sample
from toolchain.display import counted
from toolchain.metrics.mcnemar import mcnemar_p
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.networks.split import STAGES
from toolchain.progress import ProgressReporter
from toolchain.runs.selection import Measured, measured
from toolchain.select.comparison import against, significant
from toolchain.select.folds import folds_of, out_of_fold_images
from toolchain.select.labels import Labels, fitted, labels_of, rarest_labels, right
from toolchain.training.choosing import ChoiceInputs
from toolchain.training.features.compute import FeatureSpec
from toolchain.training.features.pooled import pooled_spec, stage_features
from toolchain.training.setup import preprocessing_of

PROBE_L2, PROBE_SCALING = 0.1, 0.5
"""Of the probes that compare stages. With them the out-of-fold cross entropy of the last stage is
within 0.03 nats of the best of 24 others on hymenoptera, food3 and steel6."""
MOST_IMAGES = 1000
"""Images that are measured at most: with them a difference of three points shows."""
MOST_REFERENCE_IMAGES = 150
"""Of these, images that the random weights are measured on: the pass through them is lost."""


@dataclass(frozen=True)
class Likeness:
    """What the stages of a network do for a data set, as rows for a table, and what follows."""

    like: bool
    reason: str
    best_stage: str
    """The stage whose features serve best: the last one where no earlier one is shown to."""
    folds: int
    rows: list[Measured]


def drawn(samples: Sequence[Sample], most: int, seed: int) -> tuple[Sample, ...]:
    """Return at most so many samples, of each class in proportion, in their order."""
    if len(samples) <= most:
        return tuple(samples)
    shuffled = np.random.default_rng(seed).permutation(len(samples))
    labels = rarest_labels(samples)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    kept = by_class[np.linspace(0, len(samples) - 1, most).round().astype(int)]
    return tuple(samples[index] for index in sorted(set(kept.tolist())))


def feature_spec(inputs: ChoiceInputs, classifier: Classifier | None = None) -> FeatureSpec:
    """Return what the clean features of a choice's images depend on."""
    classifier = classifier or inputs.start.classifier.to(inputs.device)
    return pooled_spec(
        classifier,
        inputs.dataset,
        preprocessing_of(inputs.settings),
        inputs.settings,
        inputs.device,
    )


def right_out_of_fold(
    features: NDArray[np.float32],
    labels: Labels,
    classes: int,
    fold_of: NDArray[np.int64],
    l2: float,
) -> NDArray[np.bool_]:
    """Return on which images a probe is right that was fitted without their fold, bool [images].

    Of images with any number of labels those are right that all labels are right of.
    """
    found = np.zeros(len(labels), bool)
    for held_out in out_of_fold_images(fold_of):
        rest = np.setdiff1d(np.arange(len(labels)), held_out)
        if not len(rest):
            continue  # all images are of one group, so nothing can be learnt without them
        probe = fitted(features[rest], labels[rest], classes, l2, PROBE_SCALING)
        found[held_out] = right(probe.logits(features[held_out]), labels[held_out])
    return found


def askable(labels: NDArray[np.int64], fold_of: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return of which images another fold has one of the same class, bool [images].

    Of the others a probe that is fitted without their fold has never seen the class, so its answers
    say nothing of the features.
    """
    found = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        own = labels == label
        found[own] = len(np.unique(fold_of[own])) > 1
    return found


def measure_likeness(inputs: ChoiceInputs, progress: ProgressReporter) -> Likeness:
    """Return what the features of each stage do for the training images."""
    seed = inputs.settings.seed
    samples = drawn(inputs.dataset.train, MOST_IMAGES, seed)
    features = stage_features(feature_spec(inputs), samples, progress)
    labels = labels_of(inputs.dataset, samples)
    fold_of = folds_of(inputs.dataset, samples, seed=seed)
    classes = len(inputs.dataset.classes)
    rows, known_right = [], {}
    for stage in STAGES:
        started = time.monotonic()
        known_right[stage] = right_out_of_fold(features[stage], labels, classes, fold_of, PROBE_L2)
        seconds = time.monotonic() - started
        rows.append(_row(f"features of {stage}", known_right[stage], seconds))
    reference, known = _random_weights(inputs, samples, progress)
    rows.append(_row("random weights, layer4", reference, 0.0))
    if len(known) < len(samples):
        rows.append(_row("features of layer4, the same images", known_right["layer4"][known], 0.0))
    if askable(rarest_labels(samples), fold_of).any():
        like, best_stage, reason = judge(known_right, reference, known)
    else:
        like, best_stage = True, STAGES[-1]
        reason = "likeness can't be measured: each class has one training image, or one group"
    return Likeness(like, reason, best_stage, int(fold_of.max()) + 1, rows)


def judge(
    right: dict[str, NDArray[np.bool_]],
    reference: NDArray[np.bool_],
    known: NDArray[np.int64],
) -> tuple[bool, str, str]:
    """Return (whether the set is like the source data, the best stage, why).

    `right` says of each stage on which images its probe is right, `reference` the same of random
    weights on the images at the indices `known`. A set is unlike only where that is shown: by an
    earlier stage that is better than the last one, or by random weights that do as well.
    """
    last = STAGES[-1]
    p = [against(right[stage], right[last]) for stage in STAGES[:-1]]
    shown = significant(p)
    better = [
        stage
        for stage, is_significant in zip(STAGES[:-1], shown, strict=True)
        if is_significant and right[stage].sum() > right[last].sum()
    ]
    if better:
        best = max(better, key=lambda stage: int(right[stage].sum()))
        gain = int(right[best].sum()) - int(right[last].sum())
        return False, best, f"{best} is right on {gain} images more than {last}"
    ahead = int(right[last][known].sum()) - int(reference.sum())
    if ahead <= 0:
        return False, last, f"{last} does no better than random weights ({_signed(ahead)} images)"
    sure = mcnemar_p(
        int((reference & ~right[last][known]).sum()), int((~reference & right[last][known]).sum())
    )
    how = "" if sure <= 0.05 else f", which may be luck (p = {sure:.2f})"
    return (
        True,
        last,
        f"no earlier stage is shown to be better than {last}, and {last} is right on {ahead} of "
        f"{counted(len(known), 'image')} more than random weights{how}",
    )


def _random_weights(
    inputs: ChoiceInputs, samples: Sequence[Sample], progress: ProgressReporter
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return (on which images a probe on random features is right, which images these are)."""
    few = set(drawn(samples, MOST_REFERENCE_IMAGES, inputs.settings.seed))
    known = np.array([index for index, sample in enumerate(samples) if sample in few])
    chosen = [samples[index] for index in known]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(inputs.settings.seed)
        network = build_network(inputs.settings.arch, len(inputs.dataset.classes))
    random = Classifier(network, IMAGENET_NORMALISATION).to(inputs.device)
    spec = replace(feature_spec(inputs, random), dataset=inputs.dataset)
    features = stage_features(spec, chosen, progress, keep=False)["layer4"]
    labels = labels_of(inputs.dataset, chosen)
    fold_of = folds_of(inputs.dataset, chosen, seed=inputs.settings.seed)
    classes = len(inputs.dataset.classes)
    return right_out_of_fold(features, labels, classes, fold_of, PROBE_L2), known


def _row(name: str, right: NDArray[np.bool_], seconds: float) -> Measured:
    return measured(name, len(right), int(right.sum()), "reference", seconds=seconds)


def _signed(count: int) -> str:
    return f"{count:+d}" if count else "0"
