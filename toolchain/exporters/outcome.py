"""The outcome of one file of an export: kept, or not kept and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain.display import megabytes
from toolchain.errors import ParityError, RefusedError
from toolchain.exporters.report import ExportedFile, RejectedFile
from toolchain.exporters.variants import Variant
from toolchain.runtime.card import Card
from toolchain.verification.result import Verification


@dataclass(frozen=True, repr=False)
class ExportedModel:
    """A model file that passed verification."""

    path: Path
    variant: Variant
    card: Card
    bytes: int
    verification: Verification
    seconds: float
    """To write and verify it."""

    def __repr__(self) -> str:
        kind = f"{self.variant.format} {self.variant.precision} {self.variant.input}"
        return f"ExportedModel({str(self.path)!r}, {kind}, {megabytes(self.bytes)})"

    @property
    def record(self) -> ExportedFile:
        """The same for `--json`."""
        return ExportedFile(
            file=str(self.path),
            format=self.variant.format,
            precision=self.variant.precision,
            input=self.variant.input,
            batch=self.variant.batch,
            acceptance=self.card.acceptance,
            bytes=self.bytes,
            seconds=round(self.seconds, 3),
            verification=self.verification,
        )


@dataclass(frozen=True, repr=False)
class RejectedModel:
    """A model file that was not kept: it failed verification, or its precision cost too much."""

    path: Path
    error: ParityError | RefusedError

    def __repr__(self) -> str:
        return f"RejectedModel({str(self.path)!r}, {str(self.error)!r})"

    @property
    def record(self) -> RejectedFile:
        """The same for `--json`."""
        return RejectedFile(file=str(self.path), error=str(self.error), hint=self.error.hint)
