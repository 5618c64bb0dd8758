"""Which choice the settings ask for: none, `--strategy auto`, or a search within `--budget`."""

from __future__ import annotations

import time

import torch

from toolchain.data.layouts import Dataset
from toolchain.errors import SettingsError
from toolchain.progress import ProgressReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import GivenSettings
from toolchain.runs.settings_sources import refuse
from toolchain.select.budget_search import NO_SEARCH, Budget, search_within
from toolchain.select.source_choice import choose_source
from toolchain.select.strategy_choice import choose_strategy
from toolchain.training.choosing import Choice, ChoiceInputs, Chooser, Choosers
from toolchain.training.distributed import is_single_process


def choosers_for(given: GivenSettings, *, started: float | None = None) -> Choosers:
    """Return who chooses what the settings leave open.

    `started` is when the time of a budget began, by default now.
    """
    models = given.source_models
    if not models:
        return Choosers(settings=chooser_for(given, started=started))

    def source(
        settings: FinetuneSettings,
        dataset: Dataset,
        device: torch.device,
        progress: ProgressReporter,
    ) -> Choice:
        return choose_source(models, settings, dataset, device, progress)

    weights = tuple(model.weights for model in models)
    return Choosers(source, chooser_for(given, started=started), weights)


def chooser_for(given: GivenSettings, *, started: float | None = None) -> Chooser | None:
    """Return what makes the choice that the settings ask for; None where they ask for none.

    `started` is when the time of a budget began, by default now.
    """
    settings = given.settings
    if settings.strategy != "auto":
        return None
    if not settings.budget:
        return lambda inputs, progress: choose_strategy(inputs, given.meant, progress)
    if not is_single_process():
        raise _several_processes()
    budget = Budget(settings.budget, time.monotonic() if started is None else started)

    def choose(inputs: ChoiceInputs, progress: ProgressReporter) -> Choice:
        return search_within(inputs, given.meant, budget, progress)

    return choose


def _several_processes() -> SettingsError:
    reason = "a search within a budget runs in one process"
    return refuse("budget", reason, NO_SEARCH)
