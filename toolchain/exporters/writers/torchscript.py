"""Write a frozen TorchScript file with the card as an extra file."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import torch

from toolchain.exporters.writers.traced import example, traced
from toolchain.networks.resnet import InferenceModel
from toolchain.runtime.card import CARD_KEY, Card, encode_card


def write_torchscript(inference_model: InferenceModel, card: Card, path: Path) -> None:
    """Write the model to `path`; the caller verifies it."""
    whole = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # torch announces the end of TorchScript on each call; the format is what was asked for.
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(
            torch.jit.trace(traced(inference_model, card), example(card), check_trace=False)
        )
        torch.jit.save(frozen, whole, _extra_files={CARD_KEY: encode_card(card)})
    _copy_without_traces(whole, path)


def _copy_without_traces(archive: io.BytesIO, path: Path) -> None:
    """Leave out the debug records, which hold the source paths of the exporting machine."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as target:
        for record in source.infolist():
            if not record.filename.endswith(".debug_pkl"):
                target.writestr(record, source.read(record))
