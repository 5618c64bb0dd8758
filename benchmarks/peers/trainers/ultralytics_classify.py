"""Ultralytics' classify trainer, with its module for torchvision's networks.

Its plots are left out, because they need a font that it downloads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peers.accuracy import photographs_of
from benchmarks.peers.trainers.outcome import Options, add_to_curve, main, write_labels

PIXELS, WORKERS = 224, 2
NETWORK = """
nc: 2
backbone:
  - [-1, 1, TorchVision, [512, resnet18, DEFAULT, True, 2]]
head:
  - [-1, 1, Classify, [nc]]
"""
"""ResNet-18 with torchvision's weights, without its last two layers; then Ultralytics' head."""


def network(folder: Path) -> Any:
    """Return an untrained model of the network above."""
    from ultralytics import YOLO

    description = folder / "resnet18-cls.yaml"
    description.write_text(NETWORK, encoding="utf-8")
    return YOLO(description, task="classify")


def train(options: Options) -> None:
    """Train with Ultralytics' defaults; it keeps the weights of the best epoch."""
    model = network(options.folder)

    def note(trainer: Any) -> None:
        add_to_curve(options, float(trainer.metrics["metrics/accuracy_top1"]))

    model.add_callback("on_fit_epoch_end", note)
    model.train(
        data=options.photographs,
        epochs=options.epochs,
        seed=options.seed,
        imgsz=PIXELS,
        device="cpu",
        workers=WORKERS,
        plots=False,
        project=options.folder,
        name="run",
        exist_ok=True,
    )


def label(options: Options) -> None:
    """Label the validation photographs with the weights of the best epoch."""
    from ultralytics import YOLO

    model = YOLO(options.folder / "run" / "weights" / "best.pt")
    paths = photographs_of(options.photographs / "val")
    labels = []
    for path in paths:
        [result] = model.predict(path, imgsz=PIXELS, device="cpu", verbose=False)
        labels.append(result.names[result.probs.top1])
    write_labels(options, paths, labels)


if __name__ == "__main__":
    main({"train": train, "label": label})
