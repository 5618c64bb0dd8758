"""Where `rtl finetune` asks for an automatic choice of its settings; `select/` makes the choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import torch

from toolchain.data.layouts import Dataset
from toolchain.progress import ProgressReporter
from toolchain.runs.selection import Selection
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.distributed import Processes
from toolchain.training.feasible import require_feasible
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
    when_trained: Callable[[], None] | None = None
    """Removes what was kept for a command that is stopped before its run is trained."""


Chooser = Callable[[ChoiceInputs, ProgressReporter], Choice]
SourceChooser = Callable[[FinetuneSettings, Dataset, torch.device, ProgressReporter], Choice]
"""Chooses the source model, before its weights are loaded; the settings have the first one."""


class Choosers(NamedTuple):
    """Who makes the choices that were asked for; None where the settings are given."""

    source: SourceChooser | None = None
    settings: Chooser | None = None
    source_weights: tuple[str, ...] = ()
    """The weights that `source` chooses from."""


GIVEN = Choosers()
"""Nothing is to be chosen."""


def chosen_source(
    settings: FinetuneSettings,
    dataset: Dataset,
    device: torch.device,
    choosers: Choosers,
    processes: Processes,
    progress: ProgressReporter,
) -> Choice:
    """Return the settings with the source model to start from: the given one, or the chosen."""
    choose = choosers.source
    if choose is None:
        return Choice(settings)
    return processes.run_on_rank_zero(lambda: choose(settings, dataset, device, progress))


def chosen_settings(
    inputs: ChoiceInputs, choosers: Choosers, processes: Processes, progress: ProgressReporter
) -> Choice:
    """Return the settings to train with: those given, or the chosen ones."""
    choose = choosers.settings
    if choose is None:
        return Choice(inputs.settings)
    choice = processes.run_on_rank_zero(lambda: choose(inputs, progress))
    require_feasible(choice.settings, inputs.dataset, inputs.device, processes.count, progress)
    return choice


def with_source(source: Choice, choice: Choice) -> Choice:
    """Return the choice of the settings, with what the source model was chosen by."""
    if choice.selection is None or source.selection is None:
        return choice._replace(selection=choice.selection or source.selection)
    selection = msgspec.structs.replace(choice.selection, source=source.selection)
    return choice._replace(selection=selection)
