"""How long training a candidate without a fold may take, so that it could still be what is chosen.

A candidate is chosen only where the held-out images show that it is better, and a few images of one
fold never do. So its time is not spent unless that of as many folds as could show it is there, and
that of its training on all images in the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.metrics.evidence import can_show_a_difference
from toolchain.select.clock import EpochsTooSlow, OutOfTime
from toolchain.select.rounds import Right, TrainFold, Trial

FINAL_EPOCHS_SHARE = 1.4
"""How much longer the training on all images takes than that without one of five folds, the pass
of the validation images through the frozen layers and their validation included."""


def folds_to_win(known: Trial, folds: Sequence[int]) -> int:
    """Return the fewest of the folds after which another could be shown to be better.

    It would have to be right on every image that the `known` one is wrong on, and wrong on no
    other. All of them where not even that would show it.
    """
    errors = 0
    for count, fold in enumerate(folds, start=1):
        errors += int((~known.right[fold]).sum())
        if can_show_a_difference(errors):
            return count
    return len(folds)


def fold_seconds_left(
    trial: Trial, trials: Sequence[Trial], folds: int, spare_seconds: float
) -> float:
    """Return the seconds that the next fold of a trial may take of those that are to spare.

    `folds` is how many it needs to win. The others that have begun keep the time for theirs.
    """
    begun = [t for t in trials if t.seconds and t.dropped is None and t is not trial]
    spare_seconds -= sum(max(0, folds - len(t.seconds)) * t.fold_seconds for t in begun)
    to_come = max(1, folds - len(trial.seconds))
    if not trial.seconds:
        # Each fold takes as long as this one, and if it is chosen it is trained once more.
        return spare_seconds / (to_come + FINAL_EPOCHS_SHARE)
    final = FINAL_EPOCHS_SHARE * max(t.fold_seconds for t in (trial, *begun))
    return spare_seconds - final - (to_come - 1) * trial.fold_seconds


def without_dearer(train_fold: TrainFold) -> TrainFold:
    """Return what trains as `train_fold` does, and raises OutOfTime for what is dearer than a trial
    whose epochs were too slow: it trains the same layers and more, so nothing is begun for it.
    """
    too_slow: list[float] = []

    def train(trial: Trial, fold: int) -> Right:
        if any(trial.cost > cost for cost in too_slow):
            raise OutOfTime
        try:
            return train_fold(trial, fold)
        except EpochsTooSlow:
            too_slow.append(trial.cost)
            raise

    return train
