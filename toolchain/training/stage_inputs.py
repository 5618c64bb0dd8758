"""The inputs of a training stage: pixels, or cached features where layers are frozen."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from toolchain.networks.resnet import Classifier
from toolchain.networks.split import TrainableHead, count_frozen_parts
from toolchain.progress import ProgressReporter
from toolchain.training.alignment.norms import with_statistics
from toolchain.training.alignment.order import TargetOrder
from toolchain.training.features.compute import FeatureSpec
from toolchain.training.features.source import feature_sources
from toolchain.training.inputs.augment import make_augmentation
from toolchain.training.inputs.order import Order
from toolchain.training.inputs.samples import BatchSource, PixelDataset, PixelSource, targets_of
from toolchain.training.setup import Setup
from toolchain.training.strategies import Stage


@dataclass(frozen=True)
class StageInputs:
    """The batches of a stage, and the module that takes them."""

    train: BatchSource
    val: BatchSource
    model: nn.Module
    """The whole classifier for pixels, or its trainable head for features; logits either way."""
    target: BatchSource | None = None
    """Photographs of another camera: as many batches as there are of training images."""


def stage_inputs(
    setup: Setup, stage: Stage, progress: ProgressReporter, *, features: bool = True
) -> StageInputs:
    """Return the inputs of a stage; its layers must have been frozen already.

    They are cached features where layers are frozen, the settings allow it and there is room for
    them. Without `features` they are pixels in any case.
    """
    frozen = count_frozen_parts(setup.classifier.network)
    if features and frozen and setup.settings.cache and not _mixes_pixels(setup, progress):
        augmented = setup.settings.augment != "none"
        spec = FeatureSpec(
            classifier=setup.classifier,
            frozen=frozen,
            dataset=setup.dataset,
            preprocessing=setup.preprocessing,
            settings=setup.settings,
            # An epoch uses one view of each image, so more views than epochs would not be used.
            views=min(setup.settings.views, stage.epochs) if augmented else 0,
            device=setup.device,
            source=_source_classifier(setup),
            target=setup.camera.images.samples if setup.camera else (),
        )
        orders = (train_order(setup), _val_order(setup), *_target_orders(setup))
        sources = feature_sources(spec, orders, setup.processes, progress)
        if sources is not None:
            train, val, *target = sources
            return StageInputs(train, val, TrainableHead(setup.classifier, frozen), *target)
    pixels = _pixel_sources(setup, progress)
    other = pixels[2] if len(pixels) > 2 else None
    return StageInputs(pixels[0], pixels[1], setup.classifier, other)


def train_order(setup: Setup) -> Order:
    """Return the order of the training images, and this process's part of each batch."""
    settings, processes = setup.settings, setup.processes
    return Order(
        setup.dataset.train,
        settings.batch_size,
        seed=settings.seed,
        balanced=settings.balanced_sampling,
        accumulate=settings.accumulate,
        rank=processes.rank,
        processes=processes.count,
    )


def wrap_model(setup: Setup, model: nn.Module) -> nn.Module:
    """Return the model as it is trained: data-parallel and compiled where the settings ask."""
    model = setup.processes.wrap(model, setup.device)
    if setup.settings.compile:
        model.compile()
    return model


def _val_order(setup: Setup) -> Order:
    processes = setup.processes
    return Order(
        setup.dataset.val,
        setup.settings.batch_size,
        seed=None,
        rank=processes.rank,
        processes=processes.count,
    )


def _target_orders(setup: Setup) -> list[TargetOrder]:
    """Return the order of the other camera's images; empty where there is none."""
    if setup.camera is None:
        return []
    settings, batches = setup.settings, len(train_order(setup))
    samples = setup.camera.images.samples
    return [TargetOrder(samples, batches, settings.batch_size, seed=settings.seed)]


def _source_classifier(setup: Setup) -> Classifier | None:
    """Return a copy that computes the training images by their own statistics; None without."""
    if setup.camera is None:
        return None
    return with_statistics(setup.classifier, setup.camera.source)


def _mixes_pixels(setup: Setup, progress: ProgressReporter) -> bool:
    """Return whether MixUp or CutMix rules features out; reports it."""
    mixes = bool(setup.settings.mixup or setup.settings.cutmix)
    if mixes:
        progress.message("the frozen part is computed each epoch: MixUp and CutMix mix its inputs")
    return mixes


def _pixel_sources(setup: Setup, progress: ProgressReporter) -> list[PixelSource]:
    """Return the batches of training, validation and, where there is one, the target."""
    settings, dataset, classes = setup.settings, setup.dataset, len(setup.dataset.classes)
    augmentation, seed, workers = make_augmentation(settings), settings.seed, settings.workers
    train = PixelSource(
        PixelDataset(dataset.train, setup.preprocessing, augmentation=augmentation, seed=seed),
        targets_of(dataset.train, classes),
        train_order(setup),
        workers,
        progress.message,
    )
    val = PixelSource(
        PixelDataset(dataset.val, setup.preprocessing),
        targets_of(dataset.val, classes),
        _val_order(setup),
        workers,
        progress.message,
    )
    sources = {"training": train, "validation": val}
    for order in _target_orders(setup):
        samples = order.samples
        pixels = PixelDataset(samples, setup.preprocessing, augmentation=augmentation, seed=seed)
        targets = targets_of(samples, classes)
        sources["target"] = PixelSource(pixels, targets, order, workers, progress.message)
    for name, source in sources.items():
        if source.dataset.fits_in_memory():
            source.dataset.read_once(progress, f"reading the {name} images")
    return list(sources.values())
