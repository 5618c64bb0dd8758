"""The ways to compute a model, behind one signature: numpy pixels in, numpy outputs out."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from toolchain.errors import MissingExtraError, ModelFileError, ProviderError
from toolchain.runtime.card import CARD_KEY, Card, decode_card
from toolchain.runtime.model_inputs import Both, Floats, Pixels, through_door
from toolchain.runtime.onnxfile.scan import MOST_CARD
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.session import existing_model

if TYPE_CHECKING:
    import torch

    from toolchain.networks.resnet import Classifier


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
    if not zipfile.is_zipfile(path):
        # What is proved and measured is the file itself, not what a cache has of it.
        return Predictor(path, provider=provider, threads=threads, cache=False)
    text = archived_card(path)
    card = decode_card(text, source=str(path))
    kind = ProgramBackend if card.format == "pt2" else TorchScriptBackend
    return kind(path, card, provider=provider, threads=threads)


def archived_card(path: Path) -> bytes:
    """Read the card of a TorchScript or .pt2 file, for which torch is not needed."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [i for i in archive.infolist() if i.filename.endswith(f"/extra/{CARD_KEY}")]
            if not found:
                raise ModelFileError(f"{path} has no rtl card: it was not exported by rtl")
            if found[0].file_size > MOST_CARD:
                raise ModelFileError(
                    f"{path} has a card of {found[0].file_size:,} bytes; {MOST_CARD:,} are allowed",
                    hint="no file of rtl has such a thing; export the model again",
                )
            return archive.read(found[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(
            f"{path} can't be opened: {error}",
            hint="it is truncated or damaged; copy or export it again",
        ) from error


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

        from toolchain.networks.resnet import probabilities_of

        # The network is shared with whoever exports it, and may have been left in train mode.
        self.classifier.eval()
        with torch.inference_mode():
            logits = self.classifier(torch.from_numpy(pixels).to(self.classifier.mean.device))
            probabilities = probabilities_of(logits, self.card.temperature, self.card.task)
        return probabilities.cpu().numpy(), logits.cpu().numpy()


class TorchBackend:
    """A file that torch computes; `threads` are torch's for the whole process."""

    def __init__(
        self, path: Path, card: Card, *, provider: str = "cpu", threads: int | None = None
    ) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError(f"torch, which computes {path.name},", "train") from error
        self.card = card
        self.device = torch_device(provider)
        if threads:
            torch.set_num_threads(threads)
        try:
            self.module = self._load(path)
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelFileError(f"{path} can't be opened as {card.format}: {first}") from error

    def run(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Compute with torch."""
        probabilities, logits = through_door(self.compute, pixels, self.card)
        return probabilities, logits

    def compute(self, given: NDArray[Any]) -> Both:
        """Run the module once, on exactly what it takes."""
        import torch

        try:
            with torch.inference_mode():
                probabilities, logits = self.module(torch.from_numpy(given).to(self.device))
        except (RuntimeError, AssertionError) as error:
            first = str(error).splitlines()[0]
            raise ModelFileError(f"it can't compute {len(given)} images: {first}") from error
        return probabilities.cpu().numpy(), logits.cpu().numpy()

    def _load(self, path: Path) -> Any:
        raise NotImplementedError


class TorchScriptBackend(TorchBackend):
    """A TorchScript file."""

    def _load(self, path: Path) -> Any:
        import torch

        return torch.jit.load(str(path), map_location=self.device)


class ProgramBackend(TorchBackend):
    """A .pt2 file, as torch.export writes it."""

    def _load(self, path: Path) -> Any:
        return load_program(path).module().to(self.device)


def load_program(path: Path) -> torch.export.ExportedProgram:
    """Read a .pt2 file, whatever it is called: by its name torch would refuse a temporary one."""
    import torch

    with path.open("rb") as file:
        return torch.export.load(file)
