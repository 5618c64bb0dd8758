"""The .pt2 files of torch.export, computed by torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.backends.torch_file import TorchBackend

if TYPE_CHECKING:
    import torch


class ProgramBackend(TorchBackend):
    """A .pt2 file, as torch.export writes it."""

    def _load(self, path: Path) -> Any:
        return load_program(path).module().to(self.device)


def load_program(path: Path) -> torch.export.ExportedProgram:
    """Read a .pt2 file, whatever it is called: by its name torch would refuse a temporary one."""
    import torch

    with path.open("rb") as file:
        return torch.export.load(file)
