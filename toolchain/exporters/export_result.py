"""What an export leaves: the files kept and not kept, and the error that it ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard, overload

from toolchain.display import Block, Displayed, Facts, Table, megabytes
from toolchain.errors import ParityError, RefusedError
from toolchain.metrics.wording import acceptance_words

if TYPE_CHECKING:
    from toolchain.exporters.outcome import ExportedModel, RejectedModel


class ExportResult(Displayed, Sequence["ExportedModel | RejectedModel"]):
    """The outcome of each file that was asked for, in order."""

    def __init__(self, outcomes: Sequence[ExportedModel | RejectedModel]) -> None:
        self._outcomes = tuple(outcomes)

    @property
    def kept(self) -> list[ExportedModel]:
        """The files that passed verification; each has `path`, `card` and `verification`."""
        return [item for item in self._outcomes if _is_kept(item)]

    @property
    def rejected(self) -> list[RejectedModel]:
        """The files that are not there, each with its `error`."""
        return [item for item in self._outcomes if _is_rejected(item)]

    @property
    def error(self) -> ParityError | RefusedError | None:
        """The error that the export ends with; None where every file was kept."""
        failed = [item.error for item in self.rejected]
        if not failed or len(self) == 1:
            return failed[0] if failed else None
        first = failed[0]
        message = f"{len(failed)} of {len(self)} files not kept: {first}"
        return type(first)(message, hint=first.hint)

    @overload
    def __getitem__(self, index: int) -> ExportedModel | RejectedModel: ...
    @overload
    def __getitem__(self, index: slice) -> ExportResult: ...
    def __getitem__(self, index: int | slice) -> ExportedModel | RejectedModel | ExportResult:
        if isinstance(index, slice):
            return ExportResult(self._outcomes[index])
        return self._outcomes[index]

    def __len__(self) -> int:
        return len(self._outcomes)

    def blocks(self) -> list[Block]:
        """Return what `rtl export` prints, and a table of the files that were not kept."""
        blocks = exported_blocks(self.kept) if self.kept else []
        if self.rejected:
            files = [(str(item.path), str(item.error)) for item in self.rejected]
            blocks.append(Table(("not kept", "because"), files))
        return blocks


def _is_kept(item: ExportedModel | RejectedModel) -> TypeGuard[ExportedModel]:
    return hasattr(item, "verification")


def _is_rejected(item: ExportedModel | RejectedModel) -> TypeGuard[RejectedModel]:
    return not _is_kept(item)


def exported_blocks(exported: Sequence[ExportedModel]) -> list[Block]:
    """Return the verification of each file, the files, and what a lower precision cost."""
    blocks = [block for item in exported for block in item.verification.blocks()]
    files = [
        (
            str(item.path),
            item.variant.format,
            item.variant.precision,
            item.variant.input,
            megabytes(item.bytes),
        )
        for item in exported
    ]
    blocks.append(Table(("file", "format", "precision", "input", "size"), files, right=("size",)))
    accepted = [
        (item.path.name, acceptance_words(item.card.acceptance))
        for item in exported
        if item.card.acceptance is not None
    ]
    return [*blocks, Facts(accepted)] if accepted else blocks
