"""`rtl finetune --try strategies`: a table of all fixed strategies on this data, in a budget."""

from __future__ import annotations

import time
from math import ceil
from typing import Any

from toolchain.errors import SettingsError, TrainingError
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.selection import Selection
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_chosen import budget_seconds
from toolchain.runs.settings_rules import require_workable
from toolchain.select.fold_training import fold_training
from toolchain.select.folds import FOLDS
from toolchain.select.going_on import search_of
from toolchain.select.guide import FULL, HEAD, MODERATE_RATE, PARTIAL, with_chosen
from toolchain.select.inputs import make_pool, read_inputs
from toolchain.select.rounds import Trial, run_rounds, why
from toolchain.training.machine_failures import machine_failures

DEFAULT_BUDGET = "10m"
DELTA_RATES: dict[str, Any] = {"lr_head": 1e-2, "lr_backbone": 3e-3}
"""Few parameters are trained, from features that hardly change, so the rates are higher."""
STRATEGIES: tuple[dict[str, Any], ...] = (
    HEAD,
    {**PARTIAL, **DELTA_RATES, "strategy": "bn", "freeze_until": "layer4"},
    {**PARTIAL, **DELTA_RATES, "strategy": "lora", "freeze_until": "layer4"},
    {**PARTIAL, "freeze_until": "layer4"},
    {**PARTIAL, "strategy": "two-stage", "freeze_until": "layer4", "head_epochs": 3},
    {**PARTIAL, "strategy": "progressive", "unfreeze_layers": 4, "unfreeze_every": 3},
    {**FULL, "lr_backbone": MODERATE_RATE},
)
"""The recipes of docs/results.md, the cheapest first."""


def try_strategies(
    settings: FinetuneSettings,
    keep: frozenset[str],
    *,
    started: float | None = None,
    progress: ProgressReporter | None = None,
) -> Selection:
    """Train with each strategy without one fold after another, and return the table of all.

    The settings in `keep` were given by the user and are the same in each. `started` is when the
    time of the budget began. Nothing is written or kept. Raises TrainingError where the budget
    ends before anything is known.
    """
    progress = progress or SilentReporter()
    began = time.monotonic()
    budget = budget_seconds(settings.budget or DEFAULT_BUDGET)
    inputs = read_inputs(settings, "--try", progress)
    pool = make_pool(inputs.dataset, inputs.dataset.train, FOLDS, settings.seed)
    trials = _trials(settings, keep)
    start = began if started is None else started
    search = search_of({"try": "strategies"}, inputs, keep, pool, start, progress)
    train = fold_training(inputs, pool, search.started + budget, progress, search)
    with machine_failures():
        rounds = run_rounds(trials, pool.folds, train)
    search.over()
    if rounds is None:
        raise TrainingError(
            f"--try: {settings.budget or DEFAULT_BUDGET} ended before one strategy was trained "
            "without one fold",
            hint=f"--budget {_longer(budget)}, or a smaller --size",
        )
    chosen = rounds.ranking.chosen
    return Selection(
        asked={"try": "strategies", "budget": settings.budget or DEFAULT_BUDGET},
        chosen=chosen.settings,
        reason=why(rounds),
        folds=rounds.folds,
        measured=rounds.rows,
        seconds=round(time.monotonic() - began, 3),
    )


def _longer(budget: float) -> str:
    """Return a budget to try after one of so many seconds was too short."""
    return DEFAULT_BUDGET if budget < budget_seconds(DEFAULT_BUDGET) else f"{ceil(budget / 30)}m"


def _trials(settings: FinetuneSettings, keep: frozenset[str]) -> list[Trial]:
    """Return the strategies, without those that what was given leaves nothing to do for."""
    trials = []
    for cost, recipe in enumerate(STRATEGIES):
        chosen, taken = with_chosen(settings, recipe, keep - {"strategy", "budget"})
        try:
            require_workable(chosen)
        except SettingsError:
            continue  # two-stage in one epoch, for example
        trials.append(Trial(recipe["strategy"], chosen, taken, float(cost)))
    return trials
