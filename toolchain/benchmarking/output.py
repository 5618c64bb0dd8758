"""Where the JSON of a benchmark goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from toolchain.errors import DataError
from toolchain.files import is_folder, require_writable
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import RunFolder


def benchmark_file(
    models: Sequence[str | os.PathLike[str]],
    providers: Sequence[str],
    output: str | os.PathLike[str] | None,
    progress: ProgressReporter | None = None,
) -> Path | None:
    """Return the file to write: `output`, else one in bench/ of a run folder, else None.

    Raises DataError where `output` can't be written. A run folder that can't be written is
    reported, and its benchmark is only shown.
    """
    if output is not None:
        require_writable(Path(output))
        return Path(output)
    first = Path(models[0])
    if not is_folder(first):
        return None
    file = RunFolder(first).bench_result("-".join(providers))
    try:
        require_writable(file)
    except DataError as error:
        reporter = progress or SilentReporter()
        reporter.message(f"{error}; the result is only shown, -o FILE keeps it")
        return None
    return file
