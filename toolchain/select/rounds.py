"""Several ways to train, compared fold by fold: what is shown to be worse is not trained further.

In each round every candidate that is left is trained on all folds but one and asked about that one.
After it those are dropped that are shown to be worse than the best, and those that could not be
shown to be better than the cheapest any more, whatever they did in the folds to come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.metrics.evidence import SIGNIFICANT, can_show_a_difference
from toolchain.metrics.mcnemar import mcnemar_p
from toolchain.runs.selection import Measured, measured
from toolchain.runs.settings import FinetuneSettings
from toolchain.select.clock import OutOfTime
from toolchain.select.comparison import Candidate, Ranking, rank

Right = NDArray[np.bool_]
INTERIM_LEVEL = 0.001
"""Level of the comparisons between the rounds. Whoever looks after each fold finds a difference by
luck sooner or later; with this level the last comparison can keep the usual one (Haybittle 1971,
Peto and others 1976)."""


@dataclass
class Trial:
    """A way to train, and what it has reached on the folds that it was tried on."""

    name: str
    settings: FinetuneSettings
    changes: dict[str, Any]
    """The settings that make it this one, for tables and commands."""
    cost: float
    right: dict[int, Right] = field(default_factory=dict)
    """Fold → on which of its images it was right."""
    seconds: dict[int, float] = field(default_factory=dict)
    """Fold → what training it took; 0 where all folds were known beforehand."""
    dropped: Measured | None = None
    """Its row of the table, as of when it was dropped."""

    @property
    def fold_seconds(self) -> float:
        """The longest that one fold took; 0 before the first."""
        return max(self.seconds.values(), default=0.0)


TrainFold = Callable[[Trial, int], Right]
"""Trains a trial without a fold and returns on which of that fold's images it is right.

Raises OutOfTime where the time does not suffice.
"""


NO_TIME = "the rest did not fit into the time"
"""Why rounds end of which some trials could not be trained; there may be a little time left."""


@dataclass(frozen=True)
class Rounds:
    """The outcome: the trials that were compared to the end, and the table of all."""

    ranking: Ranking
    rows: list[Measured]
    folds: int
    """Folds that the ranking rests on."""
    ended: str
    """Why it ended, as the end of a sentence."""


def run_rounds(
    trials: Sequence[Trial], folds: Sequence[int], train_fold: TrainFold
) -> Rounds | None:
    """Compare the trials; None where the time sufficed for no fold of any.

    A trial whose folds are all known is compared with the others and not trained.
    """
    left = sorted(trials, key=lambda trial: trial.cost)
    ended, out_of_time = "every fold was tried", False
    for number, fold in enumerate(folds):
        if not _anything_to_learn(left, folds):
            ended = "nothing left could win"
            break
        out_of_time = _train_round(left, fold, train_fold) or out_of_time
        # Without the first fold a trial would have one less than the others to the end.
        left = [trial for trial in left if trial.right]
        behind = [trial for trial in left if fold not in trial.right]
        # Those that have this fold are ranked on it, if no other is left that lacks it.
        left = _without_losers(left, folds[number + 1 :], among=behind or left)
        if behind:
            break
    if out_of_time:
        ended = NO_TIME
    known = _common_folds(left)
    compared = [trial for trial in left if trial.right]
    if not compared:
        return None
    dropped = sum(trial.dropped is not None for trial in trials)
    ranking = rank([_candidate(trial, known) for trial in compared], others=dropped)
    untried = [t for t in trials if not t.right and t.dropped is None]
    rows = [*ranking.rows(), *(t.dropped for t in trials if t.dropped is not None)]
    rows.sort(key=lambda row: (row.verdict == "worse", -(row.accuracy or 0.0)))
    rows += [measured(t.name, 0, 0, "not tried", settings=t.changes) for t in untried]
    return Rounds(ranking, rows, len(known), ended)


def _train_round(trials: Sequence[Trial], fold: int, train_fold: TrainFold) -> bool:
    """Train each trial on one fold, the cheapest first; return whether one had no time."""
    out_of_time = False
    for trial in trials:
        if fold in trial.right:
            continue
        started = time.monotonic()
        try:
            trial.right[fold] = train_fold(trial, fold)
        except OutOfTime:
            out_of_time = True  # a dearer one may be tried in less time: it needs other features
            continue
        trial.seconds.setdefault(fold, time.monotonic() - started)  # of a kept one it is known
    return out_of_time


def _without_losers(
    trials: list[Trial], to_come: Sequence[int], among: Sequence[Trial]
) -> list[Trial]:
    """Return the trials without losers `among` them, which get their row of the table."""
    if len(trials) < 2:
        return trials
    known, cheapest = _common_folds(trials), trials[0]
    ranking = rank([_candidate(trial, known) for trial in trials], level=INTERIM_LEVEL)
    verdicts = {row.name: row for row in ranking.rows()}
    for trial in among:
        row = verdicts[trial.name]
        hopeless = trial is not cheapest and not _can_win(trial, cheapest, known, to_come)
        if trial.name != ranking.chosen.name and (row.verdict == "worse" or hopeless):
            trial.dropped = row
    return [trial for trial in trials if trial.dropped is None]


def _can_win(trial: Trial, cheapest: Trial, known: Sequence[int], to_come: Sequence[int]) -> bool:
    """Return whether a trial could be shown to be better, were it right on every image to come."""
    lost = sum(int((cheapest.right[f] & ~trial.right[f]).sum()) for f in known)
    gained = sum(int((trial.right[f] & ~cheapest.right[f]).sum()) for f in known)
    for fold in to_come:
        if fold not in cheapest.right:
            return True  # nobody knows yet what there is to gain
        gained += int((~cheapest.right[fold]).sum())
    return gained > lost and mcnemar_p(lost, gained) <= SIGNIFICANT


def _anything_to_learn(trials: Sequence[Trial], folds: Sequence[int]) -> bool:
    """Return whether another round could change what is chosen."""
    if len(trials) < 2:
        return False
    cheapest, others = trials[0], [trial for trial in trials[1:] if not trial.right]
    if len(others) < len(trials) - 1 or set(cheapest.right) < set(folds):
        return True
    errors = sum(int((~right).sum()) for right in cheapest.right.values())
    return can_show_a_difference(errors)


def _common_folds(trials: Sequence[Trial]) -> list[int]:
    """Return the folds that every trial was tried on which was tried on any."""
    tried = [set(trial.right) for trial in trials if trial.right]
    return sorted(set.intersection(*tried)) if tried else []


def _candidate(trial: Trial, folds: Sequence[int]) -> Candidate:
    right = np.concatenate([trial.right[fold] for fold in folds])
    seconds = sum(trial.seconds.values())
    return Candidate(trial.name, right, trial.cost, trial.changes, seconds)


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
            reason = f"can't tell {chosen.name} from {' or '.join(tied)}, and it is cheaper"
        elif worse:
            reason = f"{chosen.name} is shown to be better than all others that were tried"
        elif rounds.ended == NO_TIME:
            reason = f"there was no time to show that another is better than {chosen.name}"
    elif chosen is best:
        reason = f"{chosen.name} is the best so far; can't tell it from {' or '.join(others)}"
    else:
        reason = (
            f"can't tell {chosen.name} from {best.name} (p = {_p(rounds):.2f}), and it is cheaper"
        )
    return f"{reason}; {rounds.ended}"


def _p(rounds: Rounds) -> float:
    pairs = zip(rounds.ranking.candidates, rounds.ranking.p, strict=True)
    return next(p for candidate, p in pairs if candidate is rounds.ranking.chosen)
