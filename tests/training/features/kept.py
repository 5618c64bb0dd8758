"""The inputs of a training stage, small enough to be computed in each test."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toolchain.data.audit import audit_dataset
from toolchain.data.layouts import read_dataset
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.networks.weights import read_weights
from toolchain.progress import SilentReporter
from toolchain.runs.settings_file import read_settings
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.training.distributed import Processes
from toolchain.training.features.store import KeptFeatures, entries
from toolchain.training.inputs.samples import BatchSource
from toolchain.training.setup import prepare
from toolchain.training.stage_inputs import StageInputs, stage_inputs
from toolchain.training.starting_weights import StartingWeights
from toolchain.training.strategies import enter_stage

Item = TypeVar("Item")


class RecordingReporter:
    """A `ProgressReporter` that keeps its messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        return iter(items)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Computed:
    """Counts the rows that are computed."""

    def __init__(self) -> None:
        self.rows = 0

    def since(self) -> int:
        """Return how many rows were computed since the last call."""
        count, self.rows = self.rows, 0
        return count


def inputs(data: Path, start: Path, **settings: Any) -> tuple[StageInputs, RecordingReporter]:
    """Return the inputs of the first training stage, and the reporter with its messages.

    Only the stem is frozen by default, because it is computed quickly.
    """
    defaults = {
        "data": str(data),
        "weights": str(start),
        "strategy": "partial",
        "freeze_until": "layer1",
        "size": 32,
        "epochs": 4,
        "batch_size": 16,
        "augment": "none",
        "workers": 0,
    }
    chosen = read_settings(None, {**defaults, **settings})
    dataset, _ = audit_dataset(read_dataset(data))
    network = network_of(Path(chosen.weights))
    initial = StartingWeights(Classifier(network, IMAGENET_NORMALISATION), "file")
    setup = prepare(chosen, dataset, initial, torch.device("cpu"), Processes(), SilentReporter())
    enter_stage(network, setup.stages[0])
    progress = RecordingReporter()
    return stage_inputs(setup, setup.stages[0], progress), progress


@functools.cache
def random_network() -> nn.Module:
    return build_network("resnet18", 3)


def network_of(weights: Path) -> nn.Module:
    """Return a network with these weights; copying one takes less time than building it."""
    network = copy.deepcopy(random_network())
    network.load_state_dict(read_weights(weights))
    return network


def by_image(source: BatchSource, epoch: int) -> NDArray[np.float32]:
    """Return the inputs of an epoch, float32 [images, …] in the order of the data set."""
    batches = list(source.epoch(epoch))
    order = np.argsort([index for batch in batches for index in batch.indices])
    rows: NDArray[np.float32] = torch.cat([batch.inputs for batch in batches]).numpy()
    return rows[order]


def entry_of(view: str) -> KeptFeatures:
    (found,) = [entry for entry in entries() if entry.key.view == view]
    return found


def clean(path: Path) -> NDArray[np.uint8]:
    preprocessing = Preprocessing(size=32, resize_size=37)
    return preprocess(read_image(path, preprocessing), preprocessing)
