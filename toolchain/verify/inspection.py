"""What a model file says about itself, read without running it where the format allows."""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec

from toolchain.runfolder import parity_file, references_file
from toolchain.runtime.card import Card, decode_card
from toolchain.runtime.session import existing_model, open_session, session_card
from toolchain.verify.backends import archived_card
from toolchain.verify.levels import Verification
from toolchain.verify.verify import file_sha256


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """A model file, described."""

    version: int = 1
    model: str
    bytes: int
    sha256: str
    references: bool
    """True when reference outputs lie beside the file."""
    parity: str
    """One line about the report of its verification, and whether it belongs to this file."""
    card: Card


def inspect_model(model: str | Path) -> Inspection:
    """Describe a model file; ModelFileError for one that is not ours or can't be opened."""
    path = existing_model(model)
    card = (
        decode_card(archived_card(path), source=str(path))
        if zipfile.is_zipfile(path)
        else session_card(open_session(path), path)
    )
    digest = file_sha256(path)
    return Inspection(
        model=str(path),
        bytes=path.stat().st_size,
        sha256=digest,
        references=references_file(path).is_file(),
        parity=_parity_line(path, digest),
        card=card,
    )


def _parity_line(path: Path, digest: str) -> str:
    report = parity_file(path)
    if not report.is_file():
        return "no report beside the file"
    try:
        found = msgspec.json.decode(report.read_bytes(), type=Verification)
    except msgspec.DecodeError:
        return f"{report.name} can't be read"
    if found.sha256 != digest:
        return f"{report.name} belongs to another file"
    levels = len(found.levels)
    return f"at export, {levels} of {levels} levels passed" if found.passed else "failed"
