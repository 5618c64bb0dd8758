"""Which of several source models to start from: by a probe, and the best two by a fine-tuning.

A linear probe is fitted to the features of each on the training images and asked about images that
it was not fitted on, the same for all. The best two are then fine-tuned for a few epochs without
one fold, as far as more than the classifier will be trained, and compared on that fold.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

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
from toolchain.select.likeness import (
    MOST_IMAGES,
    PROBE_L2,
    drawn,
    feature_spec,
    right_out_of_fold,
)
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


@dataclass(frozen=True)
class _Compared:
    """The images that source models are compared on."""

    samples: tuple[Sample, ...]
    fold_of: np.ndarray[tuple[int], np.dtype[np.int64]]
    labels: np.ndarray[tuple[int], np.dtype[np.int64]]
    classes: int


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
    compared = _Compared(
        samples,
        folds_of(dataset, samples, seed=settings.seed),
        np.array([sample.labels[0] for sample in samples]),
        len(dataset.classes),
    )
    ranking = rank([_probed(each, compared, progress) for each in inputs])
    reason = _why(ranking)
    by_name = {_name(each.settings): each for each in inputs}
    confirmed: Ranking | None = None
    if settings.strategy not in UNCONFIRMED:
        others = [c for c in ranking.candidates if c is not ranking.chosen]
        best = [by_name[c.name] for c in (ranking.chosen, *others[: CONFIRMED - 1])]
        confirmed = rank([_fine_tuned(each, compared, progress) for each in best])
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
        folds=int(compared.fold_of.max()) + 1,
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


def _probed(inputs: ChoiceInputs, compared: _Compared, progress: ProgressReporter) -> Candidate:
    """Return on which images a probe on the features of a source model is right."""
    started = time.monotonic()
    spec = feature_spec(inputs)
    stages = stage_features(spec, compared.samples, progress)
    is_head = inputs.settings.strategy == "head"
    used = STAGES_READ[inputs.settings.head_stages if is_head else "last-two"]
    features = np.concatenate([stages[stage] for stage in used], axis=1)
    right = right_out_of_fold(
        features, compared.labels, compared.classes, compared.fold_of, PROBE_L2
    )
    seconds = time.monotonic() - started
    name = _name(inputs.settings)
    progress.message(f"{name}: a probe is right on {right.sum()} of {len(right)} images")
    return _candidate(inputs, name, right, seconds)


def _fine_tuned(inputs: ChoiceInputs, compared: _Compared, progress: ProgressReporter) -> Candidate:
    """Return on which images of a fold a source model is right after a few epochs without them."""
    started = time.monotonic()
    few = set(drawn(compared.samples, MOST_CONFIRMING_IMAGES, inputs.settings.seed))
    pairs = [p for p in zip(compared.samples, compared.fold_of, strict=True) if p[0] in few]
    train = [sample for sample, fold in pairs if fold]
    held_out = [sample for sample, fold in pairs if not fold]
    epochs = min(SHORT_EPOCHS, inputs.settings.epochs)
    settings = msgspec.structs.replace(
        inputs.settings, strategy="partial", epochs=epochs, t_max=epochs, warmup_epochs=0
    )
    right = train_fold(inputs, settings, train, held_out, SilentReporter()).right
    name = _name(inputs.settings)
    progress.message(f"{name}: after {epochs} epochs right on {right.sum()} of {len(right)} images")
    return _candidate(inputs, name, right, time.monotonic() - started)


def _candidate(
    inputs: ChoiceInputs, name: str, right: np.ndarray[tuple[int], np.dtype[np.bool_]], s: float
) -> Candidate:
    # Of a tie the smaller network is taken, of equally large ones that given first.
    size = sum(p.numel() for p in inputs.start.classifier.network.parameters())
    chosen = {"weights": inputs.settings.weights, "arch": inputs.settings.arch}
    return Candidate(name, right, float(size), chosen, s)


def _why(ranking: Ranking) -> str:
    """Return why the probes speak for the chosen source model."""
    chosen, best = ranking.chosen, ranking.candidates[0]
    tied = [candidate.name for candidate in ranking.ties if candidate is not chosen]
    if not tied:
        return f"its probe is shown to be better than {_count(ranking)}"
    if chosen is best:
        return f"its probe is right most often; can't tell it from {', '.join(tied)}"
    return f"can't tell its probe from that of {best.name}, and it is the smaller network"


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
