"""What TorchScript and .pt2 files share: a file that torch opens and computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from toolchain.errors import MissingExtraError, ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import Floats, ModelOutputs, Pixels, run_on_pixels


class TorchBackend:
    """A file that torch computes; `threads` are torch's for the whole process."""

    def __init__(
        self, path: Path, card: Card, *, provider: str = "cpu", threads: int | None = None
    ) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError(f"torch, which computes {path.name},", "train") from error
        from toolchain.networks.device import torch_device

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
        probabilities, logits = run_on_pixels(self.compute, pixels, self.card)
        return probabilities, logits

    def compute(self, given: NDArray[Any]) -> ModelOutputs:
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
