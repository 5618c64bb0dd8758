"""The weights that a run starts from, made from its settings or restored from its checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import torch

from toolchain.errors import TrainingError
from toolchain.networks import resnet
from toolchain.networks.weights import start_classifier, weights_bytes
from toolchain.progress import ProgressReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runtime.card import HeadStages
from toolchain.training.checkpoints import Checkpoints


class StartingWeights(NamedTuple):
    """A classifier before its first step."""

    classifier: resnet.Classifier
    origin: str
    """One line about where its weights come from."""

    def reading(self, head_stages: HeadStages) -> StartingWeights:
        """Return them with a head that reads these stages: a new one where it read others."""
        return self._replace(classifier=resnet.with_head_stages(self.classifier, head_stages))


def make_starting_weights(
    settings: FinetuneSettings, classes: Sequence[str], progress: ProgressReporter
) -> StartingWeights:
    """Return the classifier that the settings ask for; its new head depends on the seed only.

    Raises TrainingError where the weights can't be had or don't fit the architecture.
    """
    torch.manual_seed(settings.seed)
    return StartingWeights(
        *start_classifier(
            settings.arch,
            classes,
            settings.weights,
            dropout=settings.dropout,
            head_stages=settings.head_stages,
            progress=progress,
        )
    )


def restore_starting_weights(
    checkpoints: Checkpoints, settings: FinetuneSettings, classes: int
) -> StartingWeights | None:
    """Return a stopped run's classifier with its frozen weights; None where they were not kept.

    The trained weights are still random: a checkpoint of an epoch holds them.
    """
    start = checkpoints.load_start()
    if start is None:
        return None
    frozen, origin = start
    network = resnet.build_network(
        settings.arch, classes, dropout=settings.dropout, head_stages=settings.head_stages
    )
    classifier = resnet.Classifier(network, resnet.IMAGENET_NORMALISATION)
    classifier.load_state_dict(frozen, strict=False)
    return StartingWeights(classifier, origin)


def require_same_start(
    checkpoints: Checkpoints, frozen: resnet.State, settings: FinetuneSettings
) -> None:
    """Raise TrainingError where a resumed run would go on with other frozen weights than it had."""
    expected = checkpoints.start_sha256()
    if expected not in (None, hashlib.sha256(weights_bytes(frozen)).hexdigest()):
        raise TrainingError(
            f"{checkpoints.folder} is damaged, and --weights {settings.weights} gives other "
            "weights than those that this run began with",
            hint="start anew, or put the old weights back",
        )
