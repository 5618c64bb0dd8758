"""The protocol of all backends (numpy pixels in, numpy outputs out), and how a file is opened."""

from __future__ import annotations

import os
import zipfile
from typing import Protocol

from toolchain.backends.archive import archived_card
from toolchain.backends.onnxruntime import open_onnx
from toolchain.backends.pt2 import ProgramBackend
from toolchain.backends.torchscript import TorchScriptBackend
from toolchain.runtime.card import Card, decode_card
from toolchain.runtime.model_inputs import ModelOutputs, Pixels
from toolchain.runtime.session import existing_model


class Backend(Protocol):
    """An open model that computes outputs, whatever computes it."""

    @property
    def card(self) -> Card:
        """The card of the model."""

    def run(self, pixels: Pixels) -> ModelOutputs:
        """Return the outputs for pixels uint8 [batch, size, size, 3]."""


def open_backend(
    model: str | os.PathLike[str],
    *,
    provider: str = "cpu",
    threads: int | None = None,
    spin: bool = False,
) -> Backend:
    """Open a model file of any format that rtl writes.

    With `spin` onnxruntime's threads wait for work in a busy loop; torch has no such choice.

    Raises ModelFileError for a file that is damaged or not rtl's, ProviderError for a provider that
    is not available, and MissingExtraError for TorchScript and .pt2 without torch.
    """
    path = existing_model(model)
    if not zipfile.is_zipfile(path):
        return open_onnx(path, provider=provider, threads=threads, spin=spin)
    card = decode_card(archived_card(path), source=str(path))
    backend = ProgramBackend if card.format == "pt2" else TorchScriptBackend
    return backend(path, card, provider=provider, threads=threads)
