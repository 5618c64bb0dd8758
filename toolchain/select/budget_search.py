"""`--budget`: a search for strategy and rates that ends in time, inside the training images.

1. Linear probes on kept features of all stages, by cross-validation. Of those that a head can
   read, the last stage's goes on, unless another is shown to be better.
2. Fine-tuning from that probe (LP-FT), several depths and rates, fold by fold, as long as something
   could still be shown to be better and there is time to train it in the end.
3. What is chosen is trained on all training images. The validation images chose nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from toolchain.progress import ProgressReporter
from toolchain.runs.selection import Selection
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_chosen import budget_seconds
from toolchain.runs.settings_sources import refuse
from toolchain.select.clock import OutOfTime, TimedReporter
from toolchain.select.fold_time import fold_seconds_left, folds_to_win, without_dearer
from toolchain.select.fold_training import fold_training
from toolchain.select.folds import FOLDS
from toolchain.select.going_on import Search, search_of
from toolchain.select.guide import PARTIAL, with_chosen
from toolchain.select.inputs import Pool, make_pool
from toolchain.select.likeness import feature_spec
from toolchain.select.probe_sweep import Probe, sweep_probes
from toolchain.select.probe_trials import (
    compared_probes,
    probe_settings,
    reference_rows,
    require_trainable,
)
from toolchain.select.rounds import Rounds, Trial, run_rounds, why
from toolchain.select.soups import FoldSoups
from toolchain.training.choosing import Choice, ChoiceInputs
from toolchain.training.features.pooled import StageFeatures, stage_features

WRITE_S, WRITE_SHARE = 3.0, 0.5
"""What writing the model, its pictures and its card takes, in seconds; on a slow or busy machine
this share of what starting took."""
USUAL_IMAGES_PER_S, FEWEST_STEPS = 15.0, 8
"""What a pass is taken to do where it has done fewer than so many images."""
PROBES_SHARE = 0.2
"""Of the time that is left, what the probes may take."""
NO_SEARCH: dict[str, Any] = {"budget": "", "strategy": "head"}
"""What to train with where a search can't be made."""
LPFT: dict[str, Any] = {**PARTIAL, "head_start": "probe"}
TAILS: tuple[dict[str, Any], ...] = (
    {"freeze_until": "layer4", "lr_backbone": 3e-4, "augment": "none"},
    {"freeze_until": "layer4", "lr_backbone": 1e-3, "augment": "none"},
    {"freeze_until": "layer4", "lr_backbone": 3e-4, "augment": "s3"},
    {"freeze_until": "layer3", "lr_backbone": 3e-4, "augment": "s3"},
    {"freeze_until": "layer2", "lr_backbone": 1e-4, "augment": "s3"},
)
"""What is fine-tuned from the probe, the cheapest first."""


@dataclass(frozen=True)
class Budget:
    """The time that a search may take."""

    text: str
    started: float
    """As `time.monotonic` counts."""

    @property
    def deadline(self) -> float:
        """When everything has to be written."""
        return self.started + budget_seconds(self.text)

    @property
    def left(self) -> float:
        """Seconds until then."""
        return self.deadline - time.monotonic()


def search_within(
    inputs: ChoiceInputs, keep: frozenset[str], budget: Budget, progress: ProgressReporter
) -> Choice:
    """Return the settings that the time is best spent on, and when their training has to end.

    The settings in `keep` were given by the user and stay. Raises SettingsError where they do not
    fit the epochs of a run that may be chosen, or the budget does not suffice for a pass of the
    images through the network, or is over after it.
    """
    began = time.monotonic()
    settings, dataset = inputs.settings, inputs.dataset
    require_trainable(settings, keep - {"strategy", "budget"})
    writing = max(WRITE_S, WRITE_SHARE * (began - budget.started))
    pool = make_pool(dataset, dataset.train, FOLDS, settings.seed)
    features, pass_seconds = _features(inputs, budget, writing, progress)
    _require_time_left(budget, writing)
    search = search_of({"budget": budget.text}, inputs, keep, pool, budget.started, progress)
    end, budget = budget.deadline - writing, replace(budget, started=search.started)
    if not search.probes:
        until = time.monotonic() + PROBES_SHARE * max(0.0, budget.left - writing)
        search.keep_probes(sweep_probes(features, pool, len(dataset.classes), until), pass_seconds)
    probes, pass_seconds = search.probes, search.record.pass_s
    heads = compared_probes(probes)
    probe = heads.chosen
    progress.message(
        f"linear probe on {probe.features}: {int(probe.all_right.sum())} of "
        f"{len(pool.samples)} training images right out of fold"
    )
    keep = keep - {"strategy", "budget"}
    # What the chosen head needs in the end: the validation images pass through the network too.
    final = 1.2 * pass_seconds * len(dataset.val) / len(dataset.train)
    trials = [heads.trial(settings, keep), *_tails(settings, keep, probe)]
    soups = FoldSoups(search)
    rounds = _rounds(inputs, pool, trials, budget, writing + final, progress, search, soups)
    chosen = next(trial for trial in trials if trial.name == rounds.ranking.chosen.name)
    reason = "; ".join(filter(None, (heads.reason, why(rounds))))
    progress.message(f"budget {budget.text}: {chosen.name} is trained; {reason}")
    selection = Selection(
        asked={"strategy": "auto", "budget": budget.text},
        chosen=chosen.changes,
        reason=reason,
        folds=rounds.folds,
        measured=[
            *rounds.rows,
            *soups.rows(chosen),
            *heads.rows(chosen),
            *reference_rows(probes),
        ],
        seconds=round(time.monotonic() - began, 3),
        soup=soups.plan(chosen, trials),
    )
    return Choice(chosen.settings, selection, end, search.over)


def _require_time_left(budget: Budget, writing: float) -> None:
    """Raise SettingsError where not even the writing fits, as with features kept from before."""
    if budget.left < writing:
        needed = f"{int((budget_seconds(budget.text) - budget.left + writing) * 1.2) + 1}s"
        reason = f"{budget.text} is over before a training; here it needs about {needed}"
        raise refuse("budget", reason, {"budget": needed}, NO_SEARCH)


def _features(
    inputs: ChoiceInputs, budget: Budget, writing: float, progress: ProgressReporter
) -> tuple[StageFeatures, float]:
    """Return the features of all training images, and the seconds that their pass takes."""
    samples = inputs.dataset.train
    began = time.monotonic()
    # The validation images have to pass in the end, whatever is chosen.
    passes = 1 + 1.2 * len(inputs.dataset.val) / len(samples)
    timed = TimedReporter(progress, began + (budget.left - writing) / passes, messages=True)
    try:
        features = stage_features(feature_spec(inputs), samples, timed)
    except OutOfTime:
        rate = USUAL_IMAGES_PER_S
        if timed.steps >= FEWEST_STEPS:
            rate = timed.steps / max(timed.seconds, 1e-3)
        total = began - budget.started + writing + passes * len(samples) / rate
        needed = f"{max(int(total * 1.2) + 1, 1)}s"
        reason = f"{budget.text} is shorter than a pass of the images; here it needs about {needed}"
        raise refuse("budget", reason, {"budget": needed}, NO_SEARCH) from None
    seconds, steps = time.monotonic() - began, timed.steps
    if steps < len(samples):  # kept from before: a few are measured anew
        few = samples[: min(8, len(samples))]
        timed = TimedReporter(progress, None)
        began = time.monotonic()
        stage_features(feature_spec(inputs), few, timed, keep=False)
        # Building the network's graph takes as long for few images as for many.
        each = timed.seconds / len(few)
        seconds = time.monotonic() - began + each * (len(samples) - len(few))
    return features, seconds


def _rounds(
    inputs: ChoiceInputs,
    pool: Pool,
    trials: list[Trial],
    budget: Budget,
    reserve: float,
    progress: ProgressReporter,
    search: Search,
    soups: FoldSoups,
) -> Rounds:
    """Compare the trials, the first one known, as long as there is time in which one could win."""
    folds = folds_to_win(trials[0], pool.folds)

    def until(trial: Trial) -> float:
        spare = budget.left - reserve
        return time.monotonic() + fold_seconds_left(trial, trials, folds, spare)

    train = fold_training(
        inputs, pool, budget.deadline - reserve, progress, search, until, soups.add
    )
    rounds = run_rounds(trials, pool.folds, without_dearer(train))
    assert rounds is not None  # the probe's folds are known
    return rounds


def _tails(settings: FinetuneSettings, keep: frozenset[str], probe: Probe) -> list[Trial]:
    """Return the fine-tunings from the probe, without those that what was given makes equal."""
    trials: list[Trial] = []
    for cost, tail in enumerate(TAILS, start=1):
        changes = {**LPFT, **probe_settings(probe), **tail}
        chosen, taken = with_chosen(settings, changes, keep)
        if all(chosen != other.settings for other in trials):
            name = f"{tail['freeze_until']} on, rate {tail['lr_backbone']:g}, {chosen.augment}"
            trials.append(Trial(name, chosen, taken, float(cost)))
    return trials
