"""The ways to compute a model, behind one signature: numpy pixels in, numpy outputs out."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING, Protocol

from toolchain.backends.archive import archived_card
from toolchain.backends.pt2 import ProgramBackend
from toolchain.backends.torchscript import TorchScriptBackend
from toolchain.runtime.card import Card, decode_card
from toolchain.runtime.model_inputs import Floats, Pixels
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.session import existing_model

if TYPE_CHECKING:
    pass


class Backend(Protocol):
    """Computes a model. `Predictor` is one; it computes an ONNX file with onnxruntime."""

    @property
    def card(self) -> Card:
        """What the model says about itself."""

    def run(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Return (probabilities, logits), each [batch, classes], of pixels [batch, size, size, 3]."""


def open_backend(
    model: str | os.PathLike[str], *, provider: str = "cpu", threads: int | None = None
) -> Backend:
    """Open a model file of any format that rtl writes.

    Raises ModelFileError, ProviderError, and MissingExtraError for TorchScript without torch.
    """
    path = existing_model(model)
    if not zipfile.is_zipfile(path):
        # What is proved and measured is the file itself, not what a cache has of it.
        return Predictor(path, provider=provider, threads=threads, cache=False)
    text = archived_card(path)
    card = decode_card(text, source=str(path))
    kind = ProgramBackend if card.format == "pt2" else TorchScriptBackend
    return kind(path, card, provider=provider, threads=threads)
