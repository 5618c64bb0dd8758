"""The .pt2 files of torch.export, computed by PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.backends.torch_archive import require_safe_archive
from toolchain.backends.torch_file import TorchBackend

if TYPE_CHECKING:
    import torch


class ProgramBackend(TorchBackend):
    """A .pt2 file: an exported program of torch.export."""

    def _load(self, path: Path) -> Any:
        return load_program(path).module().to(self.device)


def load_program(path: Path) -> torch.export.ExportedProgram:
    """Read a .pt2 file that has been looked over.

    It may have any name: torch.export.load refuses paths without `.pt2`. Raises ModelFileError for
    a file that must not be opened.
    """
    import torch

    require_safe_archive(path)
    with path.open("rb") as file:
        return torch.export.load(file)
