"""A network of torch over photographs in batches, as timm's and torchvision's examples do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.peers.labellers.images import BATCH, CLASSES, WORKERS


class _Photographs:
    """Photographs as tensors, by number."""

    def __init__(self, paths: list[str], transform: Any) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Any:
        from PIL import Image

        with Image.open(self.paths[number]) as image:
            return self.transform(image.convert("RGB"))


def labels_of(network: Any, transform: Any, paths: list[str]) -> Sequence[str]:
    """Return the label of each photograph; one alone is read without further processes."""
    import torch
    from torch.utils.data import DataLoader

    workers = WORKERS if len(paths) > 1 else 0
    photographs: Any = _Photographs(paths, transform)
    loader: Any = DataLoader(photographs, batch_size=BATCH, num_workers=workers)
    network.eval()
    with torch.inference_mode():
        return [CLASSES[int(i)] for pixels in loader for i in network(pixels).argmax(1)]
