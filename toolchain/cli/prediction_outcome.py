"""What `rtl predict` reports at its end: the file written, the images that failed, Ctrl-C."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

from toolchain.cli import terminal
from toolchain.data.left_out import left_out_lines
from toolchain.errors import Interrupted, PartialFailure, stop_reason
from toolchain.prediction.predict import FIRST_FAILURES, PredictionSummary
from toolchain.prediction.rowfile import PredictionFile
from toolchain.prediction.sinks import Sink
from toolchain.progress import ProgressReporter


def raise_interrupted(sink: Sink, error: KeyboardInterrupt, *, resume: bool) -> NoReturn:
    """Raise Interrupted with the command that resumes, or the error where no file was begun."""
    if not isinstance(sink, PredictionFile) or sink.earlier is None:
        raise error
    again = [*sys.argv[1:], *([] if resume else ["--resume"])]
    raise Interrupted(
        f"{stop_reason(error)}; {sink.path} has {sink.count_rows():,} rows",
        hint=terminal.rtl_command(*again),
    ) from error


def report_outcome(
    summary: PredictionSummary, output: Path | None, progress: ProgressReporter
) -> None:
    """Report the file that was written, and raise an error if images failed."""
    if output is not None:
        progress.message(_written_line(output, summary))
    for line in left_out_lines(summary.left_out):
        progress.message(line)
    _raise_for_failures(summary, output, progress)


def _written_line(output: Path, summary: PredictionSummary) -> str:
    """Return the line about a finished file: its rows and their rate."""
    rate = summary.added / summary.seconds
    there = f", {summary.already_there:,} were there" if summary.already_there else ""
    return f"{output}: {summary.added:,} images at {rate:.1f}/s{there}"


def _raise_for_failures(
    summary: PredictionSummary, output: Path | None, progress: ProgressReporter
) -> None:
    """Raise the error of the only image, or list the first errors and raise PartialFailure."""
    failed = summary.failed + len(summary.not_found)
    images = summary.images + len(summary.not_found)
    failures = [*summary.failures, *summary.not_found]
    if not failed:
        return
    if images == 1 and failures:
        raise failures[0]
    if len(failures) > 1:
        for failure in failures[:FIRST_FAILURES]:
            progress.message(f"not read: {failure}")
        if failed > FIRST_FAILURES:
            progress.message(f"… and {failed - FIRST_FAILURES:,} more")
    first = f", first {failures[0]}" if failures else ""
    raise PartialFailure(
        f"{failed:,} of {images:,} images can't be read{first}",
        hint=f"they stand in {output or 'the output'} with their errors",
    )
