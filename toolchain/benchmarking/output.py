"""Where the JSON and the picture of a benchmark go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from toolchain.benchmarking.result import Benchmark
from toolchain.errors import DataError
from toolchain.extras import import_extra
from toolchain.files import is_folder, keep_result, require_writable
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


def require_picture(path: str | os.PathLike[str] | None) -> None:
    """Raise before anything is measured where a picture can't be drawn there; None is no picture.

    DataError where it can't be written, or is to be no PNG; MissingExtraError without matplotlib.
    """
    if path is None:
        return
    if Path(path).suffix.lower() != ".png":
        raise DataError(f"{path}: a benchmark is drawn as PNG", hint=f"name it {path}.png")
    require_writable(Path(path))
    import_extra("matplotlib", what="matplotlib, which draws the picture,")


def keep_benchmark(
    result: Benchmark, file: Path | None, picture: str | os.PathLike[str] | None
) -> None:
    """Write a benchmark as JSON and draw it as a PNG, each where it has a place.

    Where that fails, the DataError holds the result.
    """
    if file is not None:
        keep_result(file, result)
    if picture is not None:
        _draw(Path(picture), result)


def _draw(path: Path, result: Benchmark) -> None:
    from toolchain.benchmarking.plot import draw_benchmark

    try:
        draw_benchmark(result, path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        refused = DataError(f"{path} can't be written: {reason}")
        refused.result = result
        raise refused from error
