"""What a stage of training starts from, small enough to be made in each test."""

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
from toolchain.training.features.store import EntrySize, entries
from toolchain.training.inputs.samples import BatchSource
from toolchain.training.setup import prepare
from toolchain.training.stage_inputs import StageInputs, stage_inputs
from toolchain.training.starting_weights import StartingWeights
from toolchain.training.strategies import enter_stage

Item = TypeVar("Item")


class Listener:
    """A narrator that remembers what it was told."""

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
        """Return how many there were since the last time."""
        count, self.rows = self.rows, 0
        return count


def inputs(data: Path, start: Path, **given: Any) -> tuple[StageInputs, Listener]:
    """Return what the first stage of training starts from, and what the user is told.

    Only the stem is frozen unless a test says otherwise: it is computed quickly.
    """
    fixed = {
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
    settings = read_settings(None, {**fixed, **given})
    dataset, _ = audit_dataset(read_dataset(data))
    network = network_of(Path(settings.weights))
    begun = StartingWeights(Classifier(network, IMAGENET_NORMALISATION), "file")
    setup = prepare(settings, dataset, begun, torch.device("cpu"), Processes(), SilentReporter())
    enter_stage(network, setup.stages[0])
    listener = Listener()
    return stage_inputs(setup, setup.stages[0], listener), listener


@functools.cache
def random_network() -> nn.Module:
    return build_network("resnet18", 3)


def network_of(weights: Path) -> nn.Module:
    """Return the network that training starts with; a copy takes less time than a new one."""
    network = copy.deepcopy(random_network())
    network.load_state_dict(read_weights(weights))
    return network


def by_image(source: BatchSource, epoch: int) -> NDArray[np.float32]:
    """Return what an epoch trains on, image by image in the order of the data set."""
    batches = list(source.epoch(epoch))
    order = np.argsort([index for batch in batches for index in batch.indices])
    rows: NDArray[np.float32] = torch.cat([batch.inputs for batch in batches]).numpy()
    return rows[order]


def entry_of(view: str) -> EntrySize:
    (found,) = [entry for entry in entries() if entry.key.view == view]
    return found


def clean(path: Path) -> NDArray[np.uint8]:
    preprocessing = Preprocessing(size=32, resize_size=37)
    return preprocess(read_image(path, preprocessing), preprocessing)
