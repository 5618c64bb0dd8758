"""Whether averaging fine-tunings from one probe would help: measured on the held-out folds.

After each fold the networks that were trained without it, and that train the same layers, are
averaged, and the average is asked about that fold.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from toolchain.networks.resnet import State
from toolchain.runs.selection import Ingredient, Measured, Soup, measured
from toolchain.runs.settings import FinetuneSettings
from toolchain.select.comparison import against
from toolchain.select.going_on import Search
from toolchain.select.rounds import Right, Trial
from toolchain.training.fold_trainer import FoldTrainer
from toolchain.training.soup import averaged, outputs_with

FEWEST = 2
"""Networks of an average."""


class FoldSoups:
    """The averages of the networks that were trained without a fold, fold after fold."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._fold: int | None = None
        self._states: dict[str, list[State]] = {}
        """Layers that are trained → the weights of each training without the present fold."""

    def add(self, trial: Trial, fold: int, trainer: FoldTrainer) -> None:
        """Average a network with those that were trained without this fold before it."""
        settings = trial.settings
        if settings.strategy != "partial" or settings.head_start != "probe":
            return
        if fold != self._fold:
            self._fold, self._states = fold, {}
        states = self._states.setdefault(settings.freeze_until, [])
        states.append({name: tensor.clone() for name, tensor in trainer.weights.items()})
        if len(states) >= FEWEST:
            right = outputs_with(trainer, averaged(states)).right
            self._search.keep_soup(settings.freeze_until, fold, right)

    def plan(self, chosen: Trial, trials: Sequence[Trial]) -> Soup | None:
        """Return what to average with the chosen one; None where nothing speaks for it.

        The averages have to be right on no fewer held-out images than the chosen one.
        """
        ingredients = _mates(chosen, trials)
        found = self._compared(chosen)
        if found is None or not ingredients or found[0].sum() < found[1].sum():
            return None
        correct, single = (int(right.sum()) for right in found)
        return Soup(
            ingredients=[
                Ingredient(name=mate.name, settings=_difference(mate.settings, chosen.settings))
                for mate in ingredients
            ],
            images=len(found[0]),
            correct=correct,
            correct_single=single,
        )

    def rows(self, chosen: Trial) -> list[Measured]:
        """Return the row of the averages for the table; none where none was measured."""
        found = self._compared(chosen)
        if found is None:
            return []
        soup, single = found
        name = f"average of those that train {chosen.settings.freeze_until} on"
        p = against(soup, single)
        return [measured(name, len(soup), int(soup.sum()), "reference", p=p)]

    def _compared(self, chosen: Trial) -> tuple[Right, Right] | None:
        """Return on which held-out images the averages and the chosen one were right."""
        if chosen.settings.strategy != "partial":
            return None
        soups = self._search.soups(chosen.settings.freeze_until)
        folds = sorted(soups.keys() & chosen.right.keys())
        if not folds:
            return None
        joined = [np.concatenate([own[fold] for fold in folds]) for own in (soups, chosen.right)]
        return joined[0], joined[1]


def _mates(chosen: Trial, trials: Sequence[Trial]) -> list[Trial]:
    """Return the others that train the same layers and are not worse, the best first."""
    same = [
        trial
        for trial in trials
        if trial is not chosen
        and trial.dropped is None
        and trial.seconds
        and trial.settings.strategy == chosen.settings.strategy
        and trial.settings.freeze_until == chosen.settings.freeze_until
    ]
    return sorted(same, key=lambda trial: -np.concatenate(list(trial.right.values())).mean())


def _difference(settings: FinetuneSettings, base: FinetuneSettings) -> dict[str, object]:
    """Return the settings that differ from those of another training."""
    own, others = (msgspec.structs.asdict(each) for each in (settings, base))
    return {name: value for name, value in own.items() if value != others[name]}
