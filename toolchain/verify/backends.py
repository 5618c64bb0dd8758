"""The ways to compute a model, behind one signature: numpy pixels in, numpy outputs out."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import MissingExtraError, ModelFileError, ProviderError
from toolchain.runtime.card import CARD_KEY, Card, decode_card
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.session import existing_model

if TYPE_CHECKING:
    from toolchain.training.models import Classifier

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Backend(Protocol):
    """Computes a model. `Predictor` is one; it computes an ONNX file with onnxruntime."""

    @property
    def card(self) -> Card:
        """What the model says about itself."""

    def run(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Give (probabilities, logits), each [batch, classes], of pixels [batch, size, size, 3]."""


def open_backend(
    model: str | os.PathLike[str], *, provider: str = "cpu", threads: int | None = None
) -> Backend:
    """Open a model file of any format that rtl writes.

    Raises ModelFileError, ProviderError, and MissingExtraError for TorchScript without torch.
    """
    path = existing_model(model)
    if zipfile.is_zipfile(path):
        return TorchScriptBackend(path, provider=provider, threads=threads)
    return Predictor(path, provider=provider, threads=threads)


def torch_device(provider: str) -> str:
    """Give torch's device for a provider; ProviderError where torch has none or it is missing."""
    import torch

    device = provider.lower().removesuffix("executionprovider")
    if device == "cpu" or (device == "cuda" and torch.cuda.is_available()):
        return device
    there = "cpu, cuda" if torch.cuda.is_available() else "cpu"
    raise ProviderError(
        f"provider '{provider}' is not available to torch, which has: {there}",
        hint="--provider cpu",
    )


class EagerBackend:
    """The trained classifier itself, in torch."""

    def __init__(self, classifier: Classifier, card: Card) -> None:
        self.classifier = classifier
        self.card = card

    def run(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Compute with torch, on the device that the classifier is on."""
        import torch

        with torch.inference_mode():
            logits = self.classifier(torch.from_numpy(pixels).to(self.classifier.mean.device))
            scaled = logits / self.card.temperature
            multi_label = self.card.task == "multi-label"
            probabilities = torch.sigmoid(scaled) if multi_label else torch.softmax(scaled, dim=1)
        return probabilities.cpu().numpy(), logits.cpu().numpy()


class TorchScriptBackend:
    """A TorchScript file, in torch; `threads` are torch's for the whole process."""

    def __init__(self, path: Path, *, provider: str = "cpu", threads: int | None = None) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError(f"torch, which computes {path.name},", "train") from error
        extra = {CARD_KEY: ""}
        self.device = torch_device(provider)
        if threads:
            torch.set_num_threads(threads)
        try:
            self.module = torch.jit.load(str(path), map_location=self.device, _extra_files=extra)
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(
                f"{path} can't be opened as TorchScript: {str(error).splitlines()[0]}"
            ) from error
        if not extra[CARD_KEY]:
            raise ModelFileError(f"{path} has no rtl card: it was not exported by rtl")
        self.card = decode_card(extra[CARD_KEY], source=str(path))

    def run(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Compute with torch."""
        import torch

        with torch.inference_mode():
            probabilities, logits = self.module(torch.from_numpy(pixels).to(self.device))
        return probabilities.cpu().numpy(), logits.cpu().numpy()
