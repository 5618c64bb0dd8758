"""What `rtl export --json` prints. The fields are described in docs/json.md."""

from __future__ import annotations

import msgspec

from toolchain.runtime.card import Acceptance, Format, InputKind, Precision
from toolchain.verification.result import Verification


class ExportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A model file that passed verification."""

    file: str
    format: Format
    precision: Precision
    input: InputKind
    batch: int | None
    acceptance: Acceptance | None
    bytes: int
    seconds: float
    verification: Verification


class RejectedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A model file that was not kept, and why."""

    file: str
    error: str
    hint: str | None


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """All files of one export, in the order in which they were asked for."""

    version: int = 3
    files: list[ExportedFile | RejectedFile]
