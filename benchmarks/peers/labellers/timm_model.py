"""timm: its ResNet-18, and the transform that it makes from the model's configuration."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.labellers.batches import labels_of
from benchmarks.peers.labellers.images import CLASSES, main


def label(model: str, paths: list[str]) -> Sequence[str]:
    """Return the label of each photograph."""
    import timm
    from timm.data import create_transform, resolve_data_config

    network = timm.create_model("resnet18", num_classes=len(CLASSES), checkpoint_path=model)
    transform = create_transform(**resolve_data_config({}, model=network))
    return labels_of(network, transform, paths)


if __name__ == "__main__":
    main(label)
