"""Where the JSON of a benchmark goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from toolchain.files import is_folder, require_writable
from toolchain.runs.runfolder import RunFolder


def benchmark_file(
    models: Sequence[str | os.PathLike[str]],
    providers: Sequence[str],
    output: str | os.PathLike[str] | None,
) -> Path | None:
    """Return the file to write: `output`, else one in bench/ of a run folder, else None.

    Raises DataError where it can't be written.
    """
    first = Path(models[0])
    if output is not None:
        file = Path(output)
    elif is_folder(first):
        file = RunFolder(first).bench_result("-".join(providers))
    else:
        return None
    require_writable(file)
    return file
