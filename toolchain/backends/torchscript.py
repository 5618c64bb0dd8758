"""TorchScript files, computed by PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.backends.torch_archive import require_safe_archive
from toolchain.backends.torch_file import TorchBackend

if TYPE_CHECKING:
    import torch


class TorchScriptBackend(TorchBackend):
    """A TorchScript file."""

    def _load(self, path: Path) -> Any:
        return load_script(path, self.device)


def load_script(path: Path, device: torch.device | str | None = None) -> Any:
    """Read a TorchScript file that has been looked over.

    Raises ModelFileError for a file that must not be opened.
    """
    import torch

    require_safe_archive(path)
    return torch.jit.load(str(path), map_location=device)
