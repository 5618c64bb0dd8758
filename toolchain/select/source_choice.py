"""Which of several source models to start from: by a probe, and the best two by a fine-tuning.

Linear probes are fitted to the features of each on the training images and asked about images that
they were not fitted on, the same for all. The best two are then fine-tuned for a few epochs without
one fold, as far as more than the classifier will be trained, and compared on that fold.

A difference of a few right answers between source models is mostly luck. The cross entropy of the
same answers varies less, since it also counts how sure each of them is: it decides between ties.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from toolchain.data.layouts import Dataset, Sample
from toolchain.errors import ToolchainError, TrainingError
from toolchain.files import display_path
from toolchain.networks.head_stages import STAGES_READ
from toolchain.networks.weights import architecture_of
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import RunFolder, run_of_model
from toolchain.runs.selection import Measured, Selection
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_rules import require_workable
from toolchain.runs.source_models import SourceModel
from toolchain.runs.trained_run import TrainedRun
from toolchain.select.comparison import Candidate, Ranking, rank
from toolchain.select.folds import folds_of
from toolchain.select.inputs import Pool
from toolchain.select.likeness import MOST_IMAGES, drawn, feature_spec
from toolchain.select.probe_sweep import PENALTIES, SCALINGS, best_probe
from toolchain.training.choosing import Choice, ChoiceInputs
from toolchain.training.features.pooled import stage_features
from toolchain.training.fold_trainer import train_fold
from toolchain.training.starting_weights import make_starting_weights

CONFIRMED = 2
"""Source models that are fine-tuned."""
SHORT_EPOCHS = 3
MOST_CONFIRMING_IMAGES = 300
"""Training images of the short fine-tuning at most, the held-out fold included."""
UNCONFIRMED = ("head", "auto")
"""Strategies without a fine-tuning: a probe is what `head` trains, and `auto` chooses later."""


def choose_source(
    models: Sequence[SourceModel],
    settings: FinetuneSettings,
    dataset: Dataset,
    device: torch.device,
    progress: ProgressReporter,
) -> Choice:
    """Return the settings with the source model to start from, and what led to it.

    Raises TrainingError for weights that can't be read or are of no ResNet that rtl trains; of
    ImageNet's architectures those that can't be had are left out, and a message says so.
    """
    started = time.monotonic()
    inputs = _opened(models, settings, dataset, device, progress)
    if len(inputs) == 1:
        return Choice(inputs[0].settings)
    samples = drawn(dataset.train, MOST_IMAGES, settings.seed)
    pool = Pool(samples, folds_of(dataset, samples, seed=settings.seed))
    ranking = rank([_probed(each, pool, progress) for each in inputs])
    reason = _why(ranking)
    by_name = {_name(each.settings): each for each in inputs}
    confirmed: Ranking | None = None
    if settings.strategy not in UNCONFIRMED:
        ties = sorted(ranking.ties, key=lambda c: (c is not ranking.chosen, c.loss))
        others = [c for c in ranking.candidates if c not in ties]
        best = [by_name[c.name] for c in (*ties, *others)[:CONFIRMED]]
        confirmed = rank([_fine_tuned(each, pool, progress) for each in best])
        reason = f"{reason}; {_after_fine_tuning(confirmed)}"
    taken = (ranking if confirmed is None or len(confirmed.ties) > 1 else confirmed).chosen
    chosen = by_name[taken.name].settings
    if seen := trained_on(chosen.weights, dataset.train):
        reason += f"; it was trained on {seen} of these images, so its figures are too good"
    progress.message(f"source model: {taken.name}: {reason}")
    selection = Selection(
        asked={"weights": " or ".join(_name(each.settings) for each in inputs)},
        chosen={"weights": chosen.weights, "arch": chosen.arch},
        reason=reason,
        folds=len(pool.folds),
        measured=_rows(ranking, confirmed, taken.name),
        seconds=round(time.monotonic() - started, 3),
    )
    return Choice(chosen, selection)


def trained_on(weights: str, samples: Sequence[Sample]) -> int:
    """Return how many images a run was trained on; 0 for other weights, and where it isn't known.

    `weights` is a run folder, its weights, or a file that was exported into it.
    """
    path = Path(weights)
    run = RunFolder(path.parent)
    if path.is_dir():
        run = RunFolder(path)
    elif path != run.weights:
        exported = run_of_model(path)
        if exported is None:
            return 0
        run = exported
    with contextlib.suppress(ToolchainError):
        return sum(map(TrainedRun.open(run.path).was_trained_on, samples))
    return 0


def _opened(
    models: Sequence[SourceModel],
    settings: FinetuneSettings,
    dataset: Dataset,
    device: torch.device,
    progress: ProgressReporter,
) -> list[ChoiceInputs]:
    """Return what each source model gives to start from."""
    opened: list[ChoiceInputs] = []
    missing: list[TrainingError] = []
    for model in models:
        own = _with_source(settings, model)
        try:
            start = make_starting_weights(own, dataset.classes, progress)
        except TrainingError as error:
            if model.weights != "imagenet" or len(models) == 1:
                raise
            missing.append(error)
            progress.message(f"left out of the source models: {error}")
            continue
        opened.append(ChoiceInputs(own, dataset, start, device))
    if not opened:
        raise missing[0]
    return opened


def _with_source(settings: FinetuneSettings, model: SourceModel) -> FinetuneSettings:
    arch = model.arch or architecture_of(model.weights)
    if arch is None:
        raise TrainingError(
            f"{display_path(Path(model.weights))} is of no network that rtl trains",
            hint="rtl finetune --help lists them at --arch",
        )
    own = msgspec.convert(
        {**msgspec.to_builtins(settings), "weights": model.weights, "arch": arch}, FinetuneSettings
    )
    require_workable(own)
    return own


def _name(settings: FinetuneSettings) -> str:
    """Return what a source model is called in a table."""
    weights = settings.weights
    shown = weights if weights == "imagenet" else display_path(Path(weights))
    return f"{shown} ({settings.arch})"


def _probed(inputs: ChoiceInputs, pool: Pool, progress: ProgressReporter) -> Candidate:
    """Return on which images the best probe on the features of a source model is right."""
    started = time.monotonic()
    stages = stage_features(feature_spec(inputs), pool.samples, progress)
    is_head = inputs.settings.strategy == "head"
    used = STAGES_READ[inputs.settings.head_stages if is_head else "last-two"]
    features = np.concatenate([stages[stage] for stage in used], axis=1)
    name, classes = _name(inputs.settings), len(inputs.dataset.classes)
    probe = best_probe(name, features, pool, classes, (SCALINGS[:1], PENALTIES))
    right = probe.all_right
    progress.message(
        f"{name}: a probe is right on {right.sum()} of {len(right)} images, "
        f"its cross entropy is {probe.loss:.3f} nats"
    )
    return _candidate(inputs, right, probe.loss, time.monotonic() - started)


def _fine_tuned(inputs: ChoiceInputs, pool: Pool, progress: ProgressReporter) -> Candidate:
    """Return on which images of a fold a source model is right after a few epochs without them."""
    started = time.monotonic()
    few = set(drawn(pool.samples, MOST_CONFIRMING_IMAGES, inputs.settings.seed))
    pairs = [p for p in zip(pool.samples, pool.fold_of, strict=True) if p[0] in few]
    train = [sample for sample, fold in pairs if fold]
    held_out = [sample for sample, fold in pairs if not fold]
    epochs = min(SHORT_EPOCHS, inputs.settings.epochs)
    settings = msgspec.structs.replace(
        inputs.settings, strategy="partial", epochs=epochs, t_max=epochs, warmup_epochs=0
    )
    outputs = train_fold(inputs, settings, train, held_out, SilentReporter())
    right = outputs.right
    progress.message(
        f"{_name(inputs.settings)}: after {epochs} epochs right on {right.sum()} of {len(right)} "
        f"images, its cross entropy is {outputs.loss:.3f} nats"
    )
    return _candidate(inputs, right, outputs.loss, time.monotonic() - started)


def _candidate(
    inputs: ChoiceInputs, right: NDArray[np.bool_], loss: float, seconds: float
) -> Candidate:
    # Of a tie the smaller network is taken, of equally large ones that with the lower loss.
    size = sum(p.numel() for p in inputs.start.classifier.network.parameters())
    chosen = {"weights": inputs.settings.weights, "arch": inputs.settings.arch}
    return Candidate(_name(inputs.settings), right, float(size), chosen, seconds, loss)


def _why(ranking: Ranking) -> str:
    """Return why the probes speak for the chosen source model."""
    chosen = ranking.chosen
    tied = [candidate for candidate in ranking.ties if candidate is not chosen]
    if not tied:
        return f"its probe is shown to be better than {_count(ranking)}"
    if all(candidate.cost > chosen.cost for candidate in tied):
        names = ", ".join(candidate.name for candidate in tied)
        return f"can't tell its probe from that of {names}, and it is the smaller network"
    size = " of the smaller networks" if any(c.cost > chosen.cost for c in tied) else ""
    others = ", ".join(f"{candidate.name} ({candidate.loss:.3f} nats)" for candidate in tied)
    return (
        f"its probe has the lowest cross entropy{size}, {chosen.loss:.3f} nats; "
        f"can't tell it from {others}"
    )


def _count(ranking: Ranking) -> str:
    others = len(ranking.candidates) - 1
    return "the other" if others == 1 else f"all {others} others"


def _after_fine_tuning(confirmed: Ranking) -> str:
    if len(confirmed.ties) > 1:
        return "a short fine-tuning of the best two does not tell them apart"
    return f"after a short fine-tuning {confirmed.chosen.name} is shown to be better"


def _rows(ranking: Ranking, confirmed: Ranking | None, taken: str) -> list[Measured]:
    """Return the table of the probes, and below it that of the short fine-tuning."""
    rows = [
        msgspec.structs.replace(
            row,
            verdict="chosen" if row.name == taken else "tie" if row.verdict != "worse" else "worse",
        )
        for row in ranking.rows()
    ]
    short = [] if confirmed is None else confirmed.rows()
    return rows + [
        msgspec.structs.replace(
            row, name=f"{row.name}, fine-tuned for {SHORT_EPOCHS} epochs", verdict="reference"
        )
        for row in short
    ]
