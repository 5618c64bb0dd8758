"""TorchScript files, computed by PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolchain.backends.torch_file import TorchBackend


class TorchScriptBackend(TorchBackend):
    """A TorchScript file."""

    def _load(self, path: Path) -> Any:
        import torch

        return torch.jit.load(str(path), map_location=self.device)
