"""Which size training images have: smaller in the first epochs where the settings ask for it."""

from __future__ import annotations

from toolchain.runs.settings import FinetuneSettings


def keeps_features(settings: FinetuneSettings) -> bool:
    """Return whether the outputs of frozen layers are computed once and kept."""
    mixes = settings.mixup or settings.cutmix
    return settings.cache and _freezes_layers(settings) and not mixes


def _freezes_layers(settings: FinetuneSettings) -> bool:
    if settings.strategy in ("partial", "lora"):  # bn freezes the first convolution all the same
        return settings.freeze_until.strip("0") != ""  # a number of layers: none
    return settings.strategy != "full"


def small_epochs(settings: FinetuneSettings) -> int:
    """Return how many epochs train on smaller images: the first ones.

    None do on kept features, which are those of images of the full size.
    """
    if not settings.start_size or keeps_features(settings):
        return 0
    return settings.start_size_epochs or settings.epochs // 2


def reduced_size(settings: FinetuneSettings, epoch: int) -> int | None:
    """Return the side, in pixels, that the training images of an epoch are reduced to.

    None where they are not reduced. The first epoch is 1.
    """
    return settings.start_size if epoch <= small_epochs(settings) else None
