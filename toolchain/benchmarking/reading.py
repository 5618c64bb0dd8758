"""Reads the JSON that `rtl bench` wrote, that of older rtls too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from toolchain.benchmarking.figures.queries import lacking_calls
from toolchain.benchmarking.figures.verdicts import Reason
from toolchain.benchmarking.result import VERSION, Benchmark
from toolchain.errors import DataError
from toolchain.files import UNREADABLE

MOST_JSON_BYTES = 1 << 26
"""Larger files are not read."""
HINT = "give a file that rtl bench -o FILE has written; rtl bench MODEL -o FILE writes a new one"
KEPT_OF_OLDER = ("machine", "seconds_per_case", "busy", "results", "pauses")
"""The keys that are read of a benchmark before version 4."""
OLD_NOISY = Reason("unstable", "medians of its last three rounds differ by over 10 %")


def read_benchmark(path: Path) -> Benchmark:
    """Return a benchmark; raise DataError for a file that is none.

    What an older rtl did not measure is None in it, or an empty list.
    """
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            raise ValueError("it is too large")
        return _benchmark(msgspec.json.decode(path.read_bytes()))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path} can't be read: {reason}", hint=HINT) from error
    except UNREADABLE as error:
        reason = next(iter(str(error).splitlines()), "")
        raise DataError(
            f"{path} is damaged, or no result of rtl bench: {reason}", hint=HINT
        ) from error


def _benchmark(content: Any) -> Benchmark:
    if not isinstance(content, dict):
        raise ValueError("it holds no object")
    version = content.get("version", 1)
    if not isinstance(version, int) or version > VERSION:
        raise ValueError(f"version {version!r} is not known to this rtl")
    return msgspec.convert(content if version == VERSION else _renewed(content), Benchmark)


def _renewed(content: dict[str, Any]) -> dict[str, Any]:
    """Return an older benchmark as one of this version."""
    kept = {key: content[key] for key in KEPT_OF_OLDER if key in content}
    rows = kept.get("results")
    if isinstance(rows, list):
        kept["results"] = [_renewed_row(row) if isinstance(row, dict) else row for row in rows]
    return {**kept, "version": VERSION, "verdict": _renewed_verdict(content.get("verdict"))}


def _renewed_row(row: dict[str, Any]) -> dict[str, Any]:
    verdict = _renewed_verdict(row.get("verdict"))
    reasons = [OLD_NOISY] if verdict == "INVALID" else []
    calls = row.get("calls")
    return {
        **row,
        "verdict": verdict,
        "reasons": [msgspec.to_builtins(reason) for reason in reasons],
        "lacking_calls": lacking_calls(calls) if isinstance(calls, int) else [],
    }


def _renewed_verdict(old: object) -> str:
    return "VALID" if old == "stable" else "INVALID"
