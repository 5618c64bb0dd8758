"""Write a frozen TorchScript file with the card as an extra file."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import torch

from toolchain.exporters.writers.input_check import InputCheck
from toolchain.exporters.writers.traced import example, traced
from toolchain.networks.resnet import InferenceModel
from toolchain.runtime.card import CARD_KEY, Card, encode_card


def write_torchscript(inference_model: InferenceModel, card: Card, path: Path) -> None:
    """Write the model to `path`; the caller verifies the file."""
    archive = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # torch warns on each call that TorchScript is deprecated, which the user can't act on.
        warnings.simplefilter("ignore")
        checked = InputCheck(traced(inference_model, card), card).eval()
        frozen = torch.jit.freeze(torch.jit.trace(checked, example(card), check_trace=False))
        torch.jit.save(frozen, archive, _extra_files={CARD_KEY: encode_card(card)})
    _copy_without_traces(archive, path)


def _copy_without_traces(archive: io.BytesIO, path: Path) -> None:
    """Write the archive without its debug records, which hold source paths of this machine."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as target:
        for record in source.infolist():
            if not record.filename.endswith(".debug_pkl"):
                target.writestr(record, source.read(record))
