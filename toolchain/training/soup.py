"""A greedy soup: weights of trainings from one classifier, averaged where validation accepts it.

Fine-tunings that begin with the same weights end so near each other that the mean of their weights
is a network too, often a better one, and as large as one: Wortsman and others 2022,
arXiv 2203.05482. Running statistics of norms are averaged as the weights are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import torch

from toolchain.errors import SettingsError, TrainingError
from toolchain.files import write_json
from toolchain.metrics.outputs import Outputs
from toolchain.networks.resnet import State
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.selection import Ingredient, read_selection
from toolchain.training.best_epoch import BestEpoch, FinishedEpochs
from toolchain.training.fold_trainer import UnwrittenTrainer
from toolchain.training.loop import predict_split
from toolchain.training.machine_failures import MachineFailure
from toolchain.training.probe_start import begin_head
from toolchain.training.setup import prepare
from toolchain.training.stage_inputs import stage_inputs
from toolchain.training.starting_weights import make_starting_weights
from toolchain.training.trainer import Trainer

AS_LONG = 1.3
"""How much longer another training may take than the first, its starting weights included."""


def averaged(states: Sequence[State]) -> State:
    """Return the mean of several states of one network; counters, which are integers, of the first.

    The sums are made in float64, so that one state alone comes back as it is.
    """
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor.clone()
        for name, tensor in states[0].items()
    }


def outputs_with(trainer: Trainer, weights: State) -> Outputs:
    """Return the outputs for the validation images of a trained trainer's network with `weights`.

    The network keeps them; the trainer must be at its last stage.
    """
    setup = trainer.setup
    live = trainer.weights
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(weights[name])
    inputs = stage_inputs(
        setup, setup.stages[-1], SilentReporter(), features=trainer.from_features is not False
    )
    return predict_split(inputs.model, inputs.val, setup.device, SilentReporter(), label="soup")


class _Soup:
    """What is averaged so far: the run's own training, and what validation has accepted."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.single = self.best = trainer.best
        self.states = [self.single.weights]
        self.names: list[str] = []
        self.tried = 0

    def offer(self, name: str, weights: State) -> str:
        """Average another training in where validation accepts it, and return what was decided."""
        self.tried += 1
        candidate = averaged([*self.states, weights])
        outputs = outputs_with(self.trainer, candidate)
        accepted = _correct(outputs) >= _correct(self.best.outputs)
        if accepted:
            self.states.append(weights)
            self.names.append(name)
            self.best = BestEpoch(self.single.epoch, candidate, outputs)
        return (
            f"soup with {name}: {_correct(outputs)} of {len(outputs.labels)} validation images "
            f"right, {'kept' if accepted else 'not kept'}"
        )


def make_soup(trainer: Trainer, progress: ProgressReporter) -> None:
    """Train what else the choice of this run names, and keep the average where validation accepts.

    An average is accepted where it is right on no fewer validation images than what is kept so far;
    else the single training stays. The outcome is noted in selection.json.
    """
    selection = read_selection(trainer.run)
    if selection is None or selection.soup is None:
        return
    soup = _Soup(trainer)
    for name, weights in _other_trainings(trainer, selection.soup.ingredients, progress):
        progress.message(soup.offer(name, weights))
    trainer.finished = FinishedEpochs(trainer.finished.history, soup.best)
    outcome = msgspec.structs.replace(
        selection.soup,
        trained=soup.tried,
        kept=soup.names,
        val_correct=_correct(soup.best.outputs),
        val_correct_single=_correct(soup.single.outputs),
    )
    write_json(trainer.run.selection, msgspec.structs.replace(selection, soup=outcome))


def _other_trainings(
    trainer: Trainer, ingredients: Sequence[Ingredient], progress: ProgressReporter
) -> Iterator[tuple[str, State]]:
    """Yield the name and the weights of each other training, for as long as there is time.

    The longest so far, with what the caller does with its weights, is how long the next may take.
    """
    as_long = AS_LONG * sum(float(row["seconds"]) for row in trainer.finished.history)
    for ingredient in ingredients:
        began = time.monotonic()
        if trainer.deadline is not None and began + as_long > trainer.deadline:
            progress.message(f"soup: no time to train {ingredient.name}")
            return
        try:
            weights = _trained(trainer, ingredient.settings)
        except MachineFailure:
            raise
        except (TrainingError, SettingsError) as error:  # too high a rate, or weights that are gone
            progress.message(f"soup without {ingredient.name}: {error}")
            continue
        yield ingredient.name, weights
        as_long = max(as_long, time.monotonic() - began)


def _trained(trainer: Trainer, changes: dict[str, Any]) -> State:
    """Return the weights of the best epoch of another training on the same images."""
    setup = trainer.setup
    settings = msgspec.structs.replace(setup.settings, **changes)
    start = make_starting_weights(settings, setup.dataset.classes, SilentReporter())
    other = prepare(settings, setup.dataset, start, setup.device, setup.processes, SilentReporter())
    begin_head(other, SilentReporter())
    training = UnwrittenTrainer(other, SilentReporter(), trainer.deadline)
    training.fit()
    return training.best.weights


def _correct(outputs: Outputs) -> int:
    return int(outputs.right.sum())
