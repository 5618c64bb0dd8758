"""torchvision alone: its ResNet-18, and the transform of its weights."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.labellers.batches import labels_of
from benchmarks.peers.labellers.images import CLASSES, main


def label(model: str, paths: list[str]) -> Sequence[str]:
    """Return the label of each photograph."""
    import torch
    from torchvision.models import ResNet18_Weights, resnet18

    network = resnet18(num_classes=len(CLASSES))
    network.load_state_dict(torch.load(model))
    return labels_of(network, ResNet18_Weights.DEFAULT.transforms(), paths)


if __name__ == "__main__":
    main(label)
