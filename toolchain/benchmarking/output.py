"""Where the JSON of a benchmark goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from toolchain.runs.runfolder import RunFolder


def benchmark_file(
    models: Sequence[str | os.PathLike[str]],
    providers: Sequence[str],
    output: str | os.PathLike[str] | None,
) -> Path | None:
    """Return the file to write: `output`, else one in bench/ of a run folder, else None."""
    if output is not None:
        return Path(output)
    first = Path(models[0])
    return RunFolder(first).bench_result("-".join(providers)) if first.is_dir() else None
