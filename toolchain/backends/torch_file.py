"""What TorchScript and .pt2 files have in common: PyTorch opens and computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from toolchain.errors import ModelFileError, shortened
from toolchain.extras import import_extra
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import ModelOutputs, Pixels, run_on_pixels


class TorchBackend:
    """A model file that PyTorch computes; a subclass defines how it is loaded.

    Raises MissingExtraError without torch, ProviderError for a device that torch does not have, and
    ModelFileError for a file that torch can't open. `threads` sets torch's for the whole process.
    """

    def __init__(
        self, path: Path, card: Card, *, provider: str = "cpu", threads: int | None = None
    ) -> None:
        torch = import_extra("torch", what=f"torch, which computes {shortened(path.name)},")
        from toolchain.networks.device import torch_device

        self.card = card
        self.device = torch_device(provider)
        if threads:
            torch.set_num_threads(threads)
        try:
            self.module = self._load(path)
        except Exception as error:  # a file that torch can't open raises anything
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelFileError(
                f"{path} can't be opened as {card.format}: {first_line}"
            ) from error

    def run(self, pixels: Pixels) -> ModelOutputs:
        """Return the outputs for pixels uint8 [batch, size, size, 3]."""
        return ModelOutputs(*run_on_pixels(self.compute, pixels, self.card))

    def compute(self, given: NDArray[Any]) -> ModelOutputs:
        """Run the module once, on exactly what it takes; ModelFileError where it can't."""
        import torch

        try:
            with torch.inference_mode():
                probabilities, logits = self.module(torch.from_numpy(given).to(self.device))
        except Exception as error:  # whatever the file's own operators raise
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelFileError(f"it can't compute {len(given)} images: {first_line}") from error
        return ModelOutputs(probabilities.cpu().numpy(), logits.cpu().numpy())

    def _load(self, path: Path) -> Any:
        raise NotImplementedError
