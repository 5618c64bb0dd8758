"""What training needs before its first step: data, network, stages, device, arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import torch
from torch import nn

from toolchain.data.audit import Audit, audit_dataset, is_inside
from toolchain.data.layouts import Dataset, Sample, read_dataset
from toolchain.errors import DataError
from toolchain.networks.resnet import Classifier, State
from toolchain.networks.split import FrozenBackbone, TrainableHead, count_frozen_parts
from toolchain.networks.weights import start_classifier
from toolchain.progress import ProgressReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runtime.card import Preprocessing
from toolchain.training.distributed import Processes
from toolchain.training.inputs.samples import targets_of
from toolchain.training.optim.losses import Loss, make_loss
from toolchain.training.optim.precision import (
    PROBE_IMAGES,
    MixedPrecision,
    choose_precision,
    laid_out,
)
from toolchain.training.strategies import Stage, enter_stage, plan_stages


@dataclass(frozen=True)
class Setup:
    """Everything that the steps of training follow from."""

    settings: FinetuneSettings
    dataset: Dataset
    classifier: Classifier
    origin: str
    """One line about where the weights come from."""
    stages: tuple[Stage, ...]
    trained: frozenset[str]
    """Names of the tensors that some stage changes."""
    device: torch.device
    mixed_precision: MixedPrecision
    processes: Processes

    @property
    def preprocessing(self) -> Preprocessing:
        """The clean view."""
        return preprocessing_of(self.settings)

    def loss(self) -> Loss:
        """Return the loss, with the class weights of this data set."""
        train, classes = self.dataset.train, len(self.dataset.classes)
        targets = targets_of(train, classes)
        counts = targets.bincount(minlength=classes) if targets.ndim == 1 else targets.sum(0)
        return make_loss(self.settings, [int(count) for count in counts], len(train))

    def trained_state(self) -> State:
        """Return the live tensors that some stage changes: parameters, and statistics of norms."""
        state = self.classifier.state_dict()
        return {name: tensor for name, tensor in state.items() if name in self.trained}

    def frozen_state(self) -> State:
        """Return the tensors that no stage changes."""
        state = self.classifier.state_dict()
        return {name: tensor for name, tensor in state.items() if name not in self.trained}


def read_data(
    settings: FinetuneSettings, output: Path, progress: ProgressReporter
) -> tuple[Dataset, Audit]:
    """Return the data set without what can't be read, and the audit; both are told.

    Raises DataError for data that can't serve, and for an `output` inside of it.
    """
    # A list may stand beside anything; a folder of images is the data's own.
    if Path(settings.data).is_dir() and is_inside(output, Path(settings.data)):
        raise DataError(
            f"{output} lies inside the data folder {settings.data}, which rtl never writes to",
            hint="choose another folder with -o",
        )
    dataset, audit = audit_dataset(read_dataset(settings.data, settings.task), progress)
    dataset = _in_order(dataset)
    counts = ", ".join(f"{len(dataset.split(s))} {s}" for s in ("train", "val", "test"))
    progress.message(
        f"{dataset.root}: {len(dataset.classes)} classes; {counts} ({dataset.split_by})"
    )
    for line in warnings_of(audit):
        progress.message(line)
    return dataset, audit


def fresh_start(
    settings: FinetuneSettings, classes: int, progress: ProgressReporter
) -> tuple[Classifier, str]:
    """Return the classifier that the settings start from, the same for the same seed; its origin."""
    torch.manual_seed(settings.seed)
    return start_classifier(
        settings.arch, classes, settings.weights, dropout=settings.dropout, progress=progress
    )


def prepare(
    settings: FinetuneSettings,
    dataset: Dataset,
    start: tuple[Classifier, str],
    device: torch.device,
    processes: Processes,
    progress: ProgressReporter,
) -> Setup:
    """Return the setup of training that begins with the classifier and origin of `start`."""
    classifier, origin = start
    classifier.to(device)
    stages = plan_stages(classifier.network, settings)
    # The last stage trains all that any stage trains.
    enter_stage(classifier.network, stages[-1])
    trained = _trained_tensors(classifier)
    mixed_precision = processes.from_rank_zero(
        choose_precision(
            lambda: _what_is_trained(classifier, settings, device), settings, device, progress
        )
        if processes.is_rank_zero
        else None
    )
    assert mixed_precision is not None
    laid_out(classifier, mixed_precision.memory_format)
    resolved = msgspec.structs.replace(
        settings, precision=mixed_precision.precision, channels_last=mixed_precision.channels_last
    )
    return Setup(
        resolved, dataset, classifier, origin, stages, trained, device, mixed_precision, processes
    )


def _in_order(dataset: Dataset) -> Dataset:
    """Return the images in the order of their names: that of a list's lines must not matter."""

    def ordered(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return tuple(sorted(samples, key=lambda sample: dataset.name_of(sample.path)))

    return replace(
        dataset,
        train=ordered(dataset.train),
        val=ordered(dataset.val),
        test=ordered(dataset.test),
    )


def data_name(data: str) -> str:
    """Return the name of a data set, for the names of folders."""
    path = Path(data).resolve()
    return path.stem if path.is_file() else path.name


def placed(settings: FinetuneSettings) -> FinetuneSettings:
    """Return the settings with absolute paths: a run is looked at from other folders later."""
    weights = settings.weights
    if weights not in ("imagenet", "none"):
        weights = str(Path(weights).resolve())
    return msgspec.structs.replace(
        settings, data=str(Path(settings.data).resolve()), weights=weights
    )


def preprocessing_of(settings: FinetuneSettings) -> Preprocessing:
    """Return the one preprocessing that the settings ask for; settings must be resolved."""
    assert settings.preprocessing != "auto"
    return Preprocessing(
        mode=settings.preprocessing,
        size=settings.size,
        resize_size=settings.resize_size,
        decode_scale=settings.decode_scale,
    )


def warnings_of(audit: Audit) -> list[str]:
    """Return one line for each kind of problem that the audit found."""
    lines = []
    if audit.unreadable:
        first = audit.unreadable[0]
        lines.append(
            f"left out {len(audit.unreadable)} unreadable files, first {first.file}: {first.reason}"
        )
    if audit.leaks:
        lines.append(
            f"{len(audit.leaks)} groups of equal images stand in more than one split, "
            f"first {audit.leaks[0][0]}: validation is too optimistic"
        )
    if audit.label_conflicts:
        lines.append(
            f"{len(audit.label_conflicts)} groups of equal images have different classes, "
            f"first {audit.label_conflicts[0][0]}"
        )
    if audit.rare_classes:
        lines.append(f"far fewer images than in the largest class: {', '.join(audit.rare_classes)}")
    return lines


def _trained_tensors(classifier: Classifier) -> frozenset[str]:
    changed = {
        name
        for name, module in classifier.named_modules()
        if any(p.requires_grad for p in module.parameters(recurse=False))
    }
    return frozenset(n for n in classifier.state_dict() if n.rpartition(".")[0] in changed)


def _what_is_trained(
    classifier: Classifier, settings: FinetuneSettings, device: torch.device
) -> tuple[nn.Module, torch.Tensor]:
    """Return what the last stage trains and a few inputs of it, to be timed."""
    shape = (PROBE_IMAGES, settings.size, settings.size, 3)
    pixels = torch.full(shape, 128, dtype=torch.uint8, device=device)
    frozen = count_frozen_parts(classifier.network)
    if not settings.cache or not frozen:
        return classifier, pixels
    with torch.no_grad():
        return TrainableHead(classifier, frozen), FrozenBackbone(classifier, frozen).eval()(pixels)
