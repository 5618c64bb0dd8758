"""`rtl inspect`: describe a model file and the reports beside it, and whether they belong to it.

An ONNX file is scanned before anything opens it. Opening comes last, and a file that this
onnxruntime can't open is still described. TorchScript and .pt2 files are not opened, because that
takes torch.
"""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from toolchain.backends.archive import archived_card
from toolchain.backends.run_model import is_run
from toolchain.errors import MissingExtraError, ModelFileError
from toolchain.files import UNREADABLE, file_sha256
from toolchain.runs.damage import RESTORE
from toolchain.runs.runfolder import RunFolder, parity_file, rejected_file
from toolchain.runtime.array_headers import array_headers, require_consistent
from toolchain.runtime.card import Card, decode_card
from toolchain.runtime.onnxfile.stored_weights import stored_precision
from toolchain.runtime.onnxruntime_import import import_onnxruntime
from toolchain.runtime.session import (
    card_of,
    checked_scan,
    existing_model,
    open_session,
)
from toolchain.runtime.stored_outputs import references_file
from toolchain.verification.inspection_result import (
    Graph,
    Inspection,
    LevelFound,
    Opening,
    ReferencesFound,
    Report,
)

MOST_REPORT_BYTES = 1 << 24
"""A larger report is not read."""


class _StoredReport(msgspec.Struct):
    """The keys that versions 1, 2 and 3 of a report have in common."""

    sha256: str
    passed: bool
    levels: tuple[LevelFound, ...]
    provider: str | None = None
    versions: dict[str, str] = {}


def inspect_model(model: str | Path) -> Inspection:
    """Describe a model file, or the model of a run folder.

    Raises ModelFileError for a file that is not rtl's or not safe to open, DataError for a run
    without a model.
    """
    if is_run(model):
        return _inspect_run(RunFolder.open(model))
    path = existing_model(model)
    graph = opening = None
    if zipfile.is_zipfile(path):
        card = decode_card(archived_card(path), source=str(path))
    else:
        scan = checked_scan(path)
        card = card_of(scan.card, str(path))
        graph = Graph(
            opset=scan.opset,
            ir_version=scan.ir_version,
            nodes=scan.nodes,
            inputs=scan.inputs,
            outputs=scan.outputs,
            precision=stored_precision(path),
        )
        opening = _opening(path)
    digest = file_sha256(path)
    return Inspection(
        model=str(path),
        bytes=path.stat().st_size,
        sha256=digest,
        graph=graph,
        opening=opening,
        parity=_report(parity_file(path), digest),
        rejected=_report(rejected_file(path), digest),
        references=_references(references_file(path), card),
        card=card,
    )


def _inspect_run(run: RunFolder) -> Inspection:
    """Describe the trained model of a run, which needs no export."""
    card = run.read_card()
    digest = file_sha256(run.weights)
    if digest != card.weights.sha256:
        raise ModelFileError(
            f"{run.weights} is damaged, or of another run: its digest is not that in {run.card}",
            hint=RESTORE,
        )
    return Inspection(
        model=str(run.weights),
        bytes=run.weights.stat().st_size,
        sha256=digest,
        graph=None,
        opening=None,
        parity=None,
        rejected=None,
        references=None,
        card=card,
    )


def _opening(path: Path) -> Opening:
    """Try to open an ONNX file on the CPU."""
    try:
        version = str(import_onnxruntime().__version__)
    except MissingExtraError as error:
        return Opening(onnxruntime=None, opened=False, reason=str(error))
    try:
        open_session(path)
    except ModelFileError as error:
        reason = str(error).removeprefix(f"{path} can't be opened: ")
        return Opening(onnxruntime=version, opened=False, reason=reason)
    return Opening(onnxruntime=version, opened=True)


def _report(path: Path, digest: str) -> Report | None:
    """Read a report of any version; None where there is none."""
    if not path.is_file():
        return None
    status = path.stat()
    written = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
    if status.st_size > MOST_REPORT_BYTES:
        return Report(file=path.name, written=written, unreadable="it is too large")
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_StoredReport)
    except UNREADABLE as error:
        return Report(file=path.name, written=written, unreadable=str(error))
    return Report(
        file=path.name,
        written=written,
        belongs=stored.sha256 == digest,
        passed=stored.passed and all(level.passed for level in stored.levels),
        levels=stored.levels,
        provider=stored.provider,
        versions=stored.versions,
    )


def _references(path: Path, card: Card) -> ReferencesFound | None:
    """Read the names in a file of reference outputs, not the images; None where there is none."""
    if not path.is_file():
        return None
    size = path.stat().st_size
    try:
        headers = array_headers(path)
        require_consistent(headers)
        with np.load(path, allow_pickle=False) as arrays:
            classes = tuple(str(name) for name in arrays["classes"])
        images = headers["names"].shape[0]
    except Exception as error:  # a damaged archive raises whatever its damage leads to
        return ReferencesFound(file=path.name, bytes=size, unreadable=str(error))
    return ReferencesFound(
        file=path.name, bytes=size, belongs=classes == card.classes, images=images
    )
