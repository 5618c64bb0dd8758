"""`rtl finetune --try strategies`: a table of all fixed strategies on this data, in a budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from toolchain.errors import SettingsError, TrainingError
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.selection import Selection
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_chosen import budget_seconds
from toolchain.runs.settings_rules import require_workable
from toolchain.select.clock import TimedReporter
from toolchain.select.folds import FOLDS
from toolchain.select.guide import FULL, HEAD, MODERATE_RATE, PARTIAL, with_chosen
from toolchain.select.inputs import Pool, make_pool, read_inputs
from toolchain.select.rounds import Right, Rounds, Trial, run_rounds
from toolchain.training.choosing import ChoiceInputs
from toolchain.training.fold_trainer import keep_features, train_fold
from toolchain.training.machine_failures import machine_failures

DEFAULT_BUDGET = "10m"
STRATEGIES: tuple[dict[str, Any], ...] = (
    HEAD,
    {**PARTIAL, "strategy": "bn", "freeze_until": "layer4", "lr_backbone": 1e-3},
    {**PARTIAL, "strategy": "lora", "freeze_until": "layer4", "lr_backbone": 1e-3},
    {**PARTIAL, "freeze_until": "layer4"},
    {**PARTIAL, "strategy": "two-stage", "freeze_until": "layer4", "head_epochs": 3},
    {**PARTIAL, "strategy": "progressive", "unfreeze_layers": 4, "unfreeze_every": 3},
    {**FULL, "lr_backbone": MODERATE_RATE},
)
"""The recipes of docs/results.md, those of small deltas (docs/training.md), the cheapest first."""


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
    deadline = (began if started is None else started) + budget
    inputs = read_inputs(settings, "--try", progress)
    pool = make_pool(inputs.dataset, inputs.dataset.train, FOLDS, settings.seed)
    trials = _trials(settings, keep)
    with machine_failures():
        rounds = run_rounds(trials, pool.folds, fold_training(inputs, pool, deadline, progress))
    if rounds is None:
        raise TrainingError(
            f"--try: {settings.budget or DEFAULT_BUDGET} ended before one strategy was trained "
            "without one fold",
            hint="--budget 30m, or a smaller --size",
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


def fold_training(
    inputs: ChoiceInputs,
    pool: Pool,
    deadline: float,
    progress: ProgressReporter,
    until: Callable[[Trial], float] | None = None,
) -> Callable[[Trial, int], Right]:
    """Return what trains a trial without a fold; it raises OutOfTime at the deadline.

    `until` gives a trial an earlier end.
    """
    prepared: set[str] = set()

    def train(trial: Trial, fold: int) -> Right:
        end = deadline if until is None else min(deadline, until(trial))
        if trial.name not in prepared:
            keep_features(inputs, trial.settings, pool.samples, TimedReporter(progress, end))
            prepared.add(trial.name)
        quiet = TimedReporter(SilentReporter(), end)
        train_samples, held_out = pool.split(fold)
        outputs = train_fold(inputs, trial.settings, train_samples, held_out, quiet)
        right: Right = outputs.logits.argmax(1) == outputs.labels
        progress.message(
            f"{trial.name}, fold {fold + 1}: {right.sum()} of {len(right)} images right"
        )
        return right

    return train


def why(rounds: Rounds) -> str:
    """Return why the chosen candidate was taken, and why the comparison ended."""
    ranking = rounds.ranking
    best, chosen = ranking.candidates[0], ranking.chosen
    others = [c.name for c in ranking.ties if c is not chosen]
    if not others:
        worse = any(row.verdict == "worse" for row in rounds.rows)
        tied = [row.name for row in rounds.rows if row.verdict == "tie"]
        reason = f"{chosen.name} leaves too few errors to show that another is better"
        if tied:
            reason = f"can't tell {chosen.name} from {', '.join(tied)}, and it is cheaper"
        elif worse:
            reason = f"{chosen.name} is shown to be better than all others that were tried"
        elif rounds.ended == "the time was over":
            reason = f"there was no time to train another than {chosen.name} in folds"
    elif chosen is best:
        reason = f"{chosen.name} is the best so far; can't tell it from {', '.join(others)}"
    else:
        reason = (
            f"can't tell {chosen.name} from {best.name} (p = {_p(rounds):.2f}), and it is cheaper"
        )
    return f"{reason}; {rounds.ended}"


def _p(rounds: Rounds) -> float:
    pairs = zip(rounds.ranking.candidates, rounds.ranking.p, strict=True)
    return next(p for candidate, p in pairs if candidate is rounds.ranking.chosen)


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
