"""The tutorials' loop (benchmarks/plain_loop.py) with the settings of configs/photos-head.toml."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from benchmarks.peers.environment import ROOT
from benchmarks.peers.trainers.outcome import Options, main, write_labels
from benchmarks.plain_loop import plain_labels, plain_loop
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import read_settings

RECIPE, MODEL = ROOT / "configs" / "photos-head.toml", "model.pt"


def settings(options: Options) -> FinetuneSettings:
    """Return the recipe's settings with the weights that all trainers start from."""
    weights = Path(os.environ["TORCH_HOME"], "hub", "checkpoints", "resnet18-f37072fd.pth")
    given = {"data": str(options.photographs), "weights": str(weights)}
    return read_settings(RECIPE, given | {"seed": options.seed, "epochs": options.epochs})


def train(options: Options) -> None:
    """Train and keep the model of the best epoch."""
    torch.save(plain_loop(settings(options)).model, options.folder / MODEL)


def label(options: Options) -> None:
    """Label the validation photographs with the model that was kept."""
    model = torch.load(options.folder / MODEL, weights_only=False)
    found = plain_labels(model, settings(options))
    write_labels(options, list(found), list(found.values()))


if __name__ == "__main__":
    main({"train": train, "label": label})
