"""Ultralytics' predict, with a model of its own (.pt) or one that it exported (.onnx)."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.labellers.images import PIXELS, main


def label(model: str, paths: list[str]) -> Sequence[str]:
    """Return the label of each photograph."""
    from ultralytics import YOLO

    network = YOLO(model, task="classify")
    found = network.predict(paths, imgsz=PIXELS, device="cpu", verbose=False, stream=True)
    return [result.names[result.probs.top1] for result in found]


if __name__ == "__main__":
    main(label)
