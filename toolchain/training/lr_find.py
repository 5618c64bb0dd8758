"""`rtl finetune --lr-find`: train a few batches at growing rates and suggest a learning rate."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from toolchain.display import Block, Displayed, Facts, Picture
from toolchain.errors import TrainingError
from toolchain.files import require_writable, write_json
from toolchain.networks.device import choose_device
from toolchain.networks.weights import require_weights
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import RunFolder, free_run_path
from toolchain.runs.settings import HIGHEST_RATE, FinetuneSettings
from toolchain.runs.settings_sources import refuse
from toolchain.training.analysis import plots
from toolchain.training.analysis.lr_curve import should_stop, smoothed, suggest_rate, sweep_rates
from toolchain.training.data import data_name, read_data, require_outside_data
from toolchain.training.distributed import Processes, is_single_process
from toolchain.training.feasible import (
    feasible_when_listed,
    require_device_fits,
    require_feasible,
)
from toolchain.training.inputs.samples import Batch, BatchSource
from toolchain.training.loop import Stepper, make_stepper
from toolchain.training.machine_failures import machine_failures
from toolchain.training.optim.schedules import make_optimizer
from toolchain.training.setup import prepare
from toolchain.training.stage_inputs import stage_inputs
from toolchain.training.starting_weights import make_starting_weights
from toolchain.training.strategies import enter_stage, set_training_mode


class LrFindResult(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """The losses at growing learning rates, and the rates that they suggest."""

    version: int = 1
    lr_head: float | None
    """None where the loss falls at no rate."""
    lr_backbone: float | None
    """In the same proportion to `lr_head` as in the settings; None where strategy head trains no
    backbone."""
    rates: list[float]
    """Learning rates of the classifier, one for each batch."""
    losses: list[float]
    """Mean loss of each batch in nats."""
    picture: str | None
    """Path of the plot; None where the folder could not be written."""

    def blocks(self) -> list[Block]:
        """Return the suggested rates, those that were tried, and the picture of the losses."""
        if self.lr_head is None:
            suggestion = "none: the loss falls at no rate; look at the picture"
        else:
            suggestion = f"--lr-head {self.lr_head:g}"
            if self.lr_backbone is not None:
                suggestion += f" --lr-backbone {self.lr_backbone:g}"
        rows = [
            ("suggestion", suggestion),
            ("tried", f"{self.rates[0]:.1g} to {self.rates[-1]:.1g}"),
        ]
        if self.picture is None:
            return [Facts(rows)]
        rows.append(("picture", self.picture))
        return [Facts(rows), Picture(Path(self.picture), "losses over learning rates")]


def find_lr(
    settings: FinetuneSettings,
    output: str | os.PathLike[str] | None = None,
    *,
    progress: ProgressReporter | None = None,
) -> LrFindResult:
    """Sweep the learning rate over a few batches; write lr-find.json and lr-find.png to `output`.

    Trains what the last stage of the strategy trains, and keeps the ratio of the settings between
    the rates of classifier and backbone. The trained weights are dropped. Raises DataError and
    TrainingError as `finetune` does, and TrainingError under torchrun.
    """
    progress = progress or SilentReporter()
    if settings.strategy == "auto":
        reason = "--lr-find tries the rates of one strategy, and auto has chosen none yet"
        raise refuse("strategy", reason, {"strategy": "head"}, {"strategy": "partial"})
    if settings.target:
        reason = "--lr-find tries rates on the training images alone"
        raise refuse("target", reason, {"target": ""})
    if not is_single_process():
        raise TrainingError("--lr-find runs in one process", hint="start it in one process")
    # Each rate is tried on one batch.
    settings = msgspec.structs.replace(settings, accumulate=1)
    folder = RunFolder(output or free_run_path(Path("runs"), f"{data_name(settings.data)}-lr-find"))
    require_outside_data(settings, folder.path)
    folder.require_creatable()
    require_weights(settings.weights)
    require_writable(folder.rate_sweep)
    processes = Processes()
    device = choose_device(settings.device)
    require_device_fits(settings, device)
    listed = feasible_when_listed(settings, device, processes.count)
    dataset, _ = read_data(settings, folder.path, processes, progress, listed)
    require_feasible(settings, dataset, device, processes.count, progress)
    start = make_starting_weights(settings, dataset.classes, progress)
    setup = prepare(settings, dataset, start, device, processes, progress)
    progress.message(str(enter_stage(setup.classifier.network, setup.stages[-1])))
    inputs = stage_inputs(setup, setup.stages[-1], progress)
    stepper = make_stepper(setup, make_optimizer(setup.classifier, settings))
    stepper.model = inputs.model
    set_training_mode(setup.classifier)
    with machine_failures():
        rates, losses = _sweep(stepper, inputs.train, settings, progress)
    suggestion = suggest_rate(rates, losses)
    result = LrFindResult(
        lr_head=_rounded(suggestion),
        lr_backbone=_backbone_rate(suggestion, settings),
        rates=rates,
        losses=losses,
        picture=str(folder.rate_picture),
    )
    return _kept(result, suggestion, folder, progress)


def _kept(
    result: LrFindResult, suggestion: float | None, folder: RunFolder, progress: ProgressReporter
) -> LrFindResult:
    """Write the curve and the result; where that fails it is said, and the result returned."""
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        plots.draw_rate_sweep(result.rates, result.losses, suggestion, folder.rate_picture)
        write_json(folder.rate_sweep, result)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        progress.message(f"warning: the result is not kept in {folder.path}: {reason}")
        return msgspec.structs.replace(result, picture=None)
    return result


def _sweep(
    stepper: Stepper, source: BatchSource, settings: FinetuneSettings, progress: ProgressReporter
) -> tuple[list[float], list[float]]:
    """Train one batch at each rate until the loss diverges; return (rates, losses)."""
    ratios = [group["lr"] / settings.lr_head for group in stepper.optimizer.param_groups]
    planned = sweep_rates()
    rates: list[float] = []
    losses: list[float] = []
    steps = zip(planned, _repeated_batches(source), strict=False)
    for rate, batch in progress.track(steps, "trying learning rates", len(planned)):
        for group, ratio in zip(stepper.optimizer.param_groups, ratios, strict=True):
            group["lr"] = rate * ratio
        loss_sum, _ = stepper.backward(batch)
        loss = loss_sum.item() / batch.counted
        if not math.isfinite(loss):
            break
        stepper.update()
        rates.append(rate)
        losses.append(loss)
        if should_stop(smoothed(losses)):
            break
    if not losses:
        raise TrainingError(
            "the loss is no number before the first step", hint="rtl data check shows the images"
        )
    return rates, losses


def _repeated_batches(source: BatchSource) -> Iterator[Batch]:
    """Yield the batches of one epoch after another, without end."""
    return itertools.chain.from_iterable(source.epoch(n) for n in itertools.count(1))


def _backbone_rate(suggestion: float | None, settings: FinetuneSettings) -> float | None:
    if suggestion is None or settings.strategy == "head":
        return None
    return _rounded(min(suggestion * settings.lr_backbone / settings.lr_head, HIGHEST_RATE))


def _rounded(rate: float | None) -> float | None:
    """Return a rate to two significant digits: the curve is no more precise than that."""
    return None if rate is None else float(f"{rate:.2g}")
