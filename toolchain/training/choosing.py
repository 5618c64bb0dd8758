"""Where `rtl finetune` asks for an automatic choice of its settings; `select/` makes the choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from toolchain.data.layouts import Dataset
from toolchain.progress import ProgressReporter
from toolchain.runs.selection import Selection
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.starting_weights import StartingWeights


class ChoiceInputs(NamedTuple):
    """What a choice goes by. It may change neither the data nor the weights."""

    settings: FinetuneSettings
    dataset: Dataset
    """The choice looks at its training images only."""
    start: StartingWeights
    device: torch.device


class Choice(NamedTuple):
    """The settings that are trained with, and what they were chosen by."""

    settings: FinetuneSettings
    selection: Selection | None = None
    deadline: float | None = None
    """When training has to end, as `time.monotonic` counts; None for no limit."""


Chooser = Callable[[ChoiceInputs, ProgressReporter], Choice]
