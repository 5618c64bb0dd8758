"""Level "card" against the report beside a file: it must be the report of exactly these bytes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from toolchain.files import UNREADABLE
from toolchain.verification.result import Level

MOST_REPORT_BYTES = 1 << 24
"""A larger report is not read."""


class ReportDigest(msgspec.Struct):
    """The keys that tell which file a report is about; every version has them."""

    sha256: str
    passed: bool


def report_level(report: Path, digest: str) -> Level:
    """Compare the digest in a report with that of the file."""
    reason = _wrong(report, digest)
    return Level(
        level="card",
        against="report",
        passed=reason is None,
        rule="the report beside the file was written for a file of exactly these bytes, and passed",
        summary=reason or f"{report.name} is of this file",
        figures={"sha256": digest},
        where=None if reason is None else f"the file, or its report {report.name}",
    )


def _wrong(report: Path, digest: str) -> str | None:
    """Return what is wrong with a report; None where it is of this file and passed."""
    try:
        if report.stat().st_size > MOST_REPORT_BYTES:
            return f"{report.name} is too large to be a report"
        found = msgspec.json.decode(report.read_bytes(), type=ReportDigest)
    except UNREADABLE as error:
        return f"{report.name} can't be read: {error}"
    if found.sha256 != digest:
        return f"{report.name} is of a file with sha256 {found.sha256[:64]!r}, this one is {digest}"
    return None if found.passed else f"{report.name} says that this file failed"
