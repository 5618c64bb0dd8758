"""`rtl report`: one run, or several side by side → one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from toolchain.benchmarking.reading import read_benchmark
from toolchain.errors import DataError, SettingsError
from toolchain.extras import import_extra
from toolchain.files import display_path, require_writable, write_text
from toolchain.printable import shell_words
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.reporting.images.explain import Explanations, explain
from toolchain.reporting.images.mistakes import chosen_mistakes, least_certain, mark_suspects
from toolchain.reporting.images.pictures import Pictures, no_pictures
from toolchain.reporting.images.training_views import training_views
from toolchain.reporting.parts.again import again
from toolchain.reporting.parts.answer import answer
from toolchain.reporting.parts.comparison import comparison
from toolchain.reporting.parts.data import Data, data_part
from toolchain.reporting.parts.files import measurement, parity
from toolchain.reporting.parts.mistakes import Mistakes, mistakes_part
from toolchain.reporting.parts.photos import group
from toolchain.reporting.parts.results import Results, results
from toolchain.reporting.parts.training import training
from toolchain.reporting.reading.outcomes import outcomes, shared_out
from toolchain.reporting.reading.sources import RunFiles, has_measured, read_run
from toolchain.reporting.reading.stored_evaluation import StoredEvaluation, place_of
from toolchain.reporting.result import ReportFile
from toolchain.runs.runfolder import RunFolder
from toolchain.version import __version__

RIGHT_SHOWN = 1000
"""Photographs of right answers in all cells together; of each cell at least LEAST_RIGHT."""
LEAST_RIGHT = 12
MOST_GROUPS = 1000
"""Cells of the confusion matrix whose images are in the page, wrong ones first."""
SUFFIXES = (".html", ".htm")


def report(
    runs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    data: str | None = None,
    bench: Sequence[str | os.PathLike[str]] = (),
    pictures: bool = True,
    progress: ProgressReporter | None = None,
) -> ReportFile:
    """Write the report of a run, or the comparison of several, and return what was written.

    `output` is by default report.html in the run folder, for several comparison.html in the first.
    `data` is where the images are now, `bench` are files of `rtl bench -o`. Where images, or parts
    of the run, are gone, the report says so in their place. Raises DataError where a folder is no
    finished run, `data` does not exist or the file can't be written, SettingsError for a name that
    does not end in .html.
    """
    progress = progress or SilentReporter()
    import_extra("jinja2")
    if not runs:
        raise SettingsError("runs: none is given")
    _require_there(data)
    folders = [RunFolder.open(run) for run in runs]
    file = _output_file(folders, output)
    read = [read_run(folder.path, data=data, bench=bench) for folder in folders]
    _require_outside_data(file, read, data)
    _require_of_a_run(bench, read)
    shown = Pictures(read[0].card.preprocessing)
    if len(read) == 1:
        page, missing = _page_of_run(read[0], shown, data, pictures, progress)
    else:
        page, missing = _page_of_comparison(read, shown, data, pictures)
    try:
        write_text(file, page)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{file} can't be written: {reason}", hint="-o FILE") from error
    return ReportFile(
        file=str(file),
        runs=[str(one.folder.path) for one in read],
        bytes=file.stat().st_size,
        pictures=shown.shown,
        pictures_left_out=shown.left_out,
        pictures_unreadable=shown.unreadable,
        missing=missing,
    )


def _require_of_a_run(bench: Sequence[str | os.PathLike[str]], read: Sequence[RunFiles]) -> None:
    """Raise DataError for a benchmark that has measured the model of none of the runs."""
    for file in bench:
        benchmark = read_benchmark(Path(file))
        if not any(has_measured(benchmark, one.card) for one in read):
            measured = ", ".join(dict.fromkeys(model.model for model in benchmark.models))
            raise DataError(
                f"{os.fspath(file)} has measured other models ({measured}), not that of "
                f"{read[0].folder.path}",
                hint=f"{shell_words('rtl', 'bench', read[0].folder.path)} measures it",
            )


def _require_there(data: str | None) -> None:
    """Raise DataError where the place that was given for the images does not exist."""
    if data and not Path(data).exists():
        raise DataError(f"{data}: no such folder", hint="say where the images are with --data")


def _output_file(folders: Sequence[RunFolder], output: str | os.PathLike[str] | None) -> Path:
    """Return the file to write; raise where it can't be written or is no page."""
    default = folders[0].report if len(folders) == 1 else folders[0].comparison
    file = default if output is None else Path(output)
    if file.suffix.lower() not in SUFFIXES:
        raise SettingsError(
            f"output: {file} does not end in .html", hint=f"-o {file.with_suffix('.html').name}"
        )
    require_writable(file)
    return file


def _require_outside_data(file: Path, read: Sequence[RunFiles], data: str | None) -> None:
    """Raise DataError for a file in a folder of images, which are only read."""
    for files in read:
        root = Path(data or files.settings.data)
        folder = root if root.is_dir() else root.parent
        inside = file.resolve().is_relative_to(folder.resolve())
        # A run folder may lie beside the images, in the folder of their list.
        if (
            root.is_dir()
            and inside
            and not file.resolve().is_relative_to(files.folder.path.resolve())
        ):
            raise DataError(f"{file} would lie in the data, which is only read", hint="-o FILE")


def _page_of_run(
    files: RunFiles,
    pictures: Pictures,
    data: str | None,
    with_pictures: bool,
    progress: ProgressReporter,
) -> tuple[str, list[str]]:
    """Return (the page of one run, the parts that it lacks)."""
    from toolchain.reporting.page import render

    result, mistakes, lacks = None, None, list[str]()
    if files.evaluation is not None:
        result, mistakes, lacks = _evaluated(
            files, files.evaluation, pictures, data, with_pictures, progress
        )
    elif with_pictures and not Path(root := data or files.settings.data).exists():
        lacks = [f"photographs: {root} is no longer there; say where with --data"]
    page = render(
        "run.html",
        answer=answer(files),
        data=_data(files, pictures, data, with_pictures),
        training=training(files),
        results=result,
        mistakes=mistakes,
        parity=parity(files.models),
        measurements=[measurement(bench) for bench in files.benchmarks],
        again=again(files),
        path=str(files.folder.path),
        pictures=pictures,
        missing=lacks,
        version=__version__,
    )
    return page, [*files.gaps, *_missing_parts(files), *lacks]


def _missing_parts(files: RunFiles) -> list[str]:
    """Return the parts that a run has nothing for, each with the command that makes it."""
    run = display_path(files.folder.path)
    parts = (
        ("results and mistakes", "evaluate", files.evaluation is not None),
        ("parity", "export", bool(files.models)),
        ("speed", "bench", bool(files.benchmarks)),
    )
    return [f"{part}: {shell_words('rtl', verb, run)}" for part, verb, there in parts if not there]


def _evaluated(
    files: RunFiles,
    evaluation: StoredEvaluation,
    pictures: Pictures,
    data: str | None,
    with_pictures: bool,
    progress: ProgressReporter,
) -> tuple[Results, Mistakes, list[str]]:
    """Return the parts about results and mistakes, and why they lack pictures."""
    place, missing = place_of(evaluation, data), list[str]()
    mistakes, uncertain = chosen_mistakes(evaluation), least_certain(evaluation)
    every_group = outcomes(evaluation)
    groups = every_group[:MOST_GROUPS]
    most_right = max(LEAST_RIGHT, RIGHT_SHOWN // max(1, sum(not one.wrong for one in groups)))
    explained = Explanations()
    there = with_pictures and place.is_dir()
    if with_pictures and not there:
        missing.append(f"photographs: {place} is no longer there; say where with --data")
    if there:
        chosen = [*mistakes, *uncertain]
        explained = explain(files, evaluation, chosen, place.joinpath, pictures, progress)
        rows = shared_out(groups, most_right)
        paths = [place / evaluation.file.results[row].file for row in rows]
        pictures.prepare(paths, progress)
    else:
        pictures = no_pictures(files.card.preprocessing)
    missing += explained.notes
    suspects = mark_suspects(evaluation, mistakes)
    shown = [group(one, evaluation, place.joinpath, pictures, most_right) for one in groups]
    part = mistakes_part(
        evaluation, mistakes, uncertain, suspects, explained, place.joinpath, pictures
    )
    return results(evaluation, every_group, shown), part, missing


def _data(
    files: RunFiles, pictures: Pictures, data: str | None, with_pictures: bool
) -> Data | None:
    """Return the part about data; None where the run has no audit."""
    if files.audit is None:
        return None
    root = Path(data or files.settings.data)
    place = root.parent if root.is_file() else root
    if not with_pictures or not place.is_dir():
        return data_part(files.audit, None, pictures, [], "the images are not at hand")
    views, no_views = training_views(files, pictures)
    return data_part(files.audit, place, pictures, views, no_views)


def _page_of_comparison(
    read: Sequence[RunFiles],
    pictures: Pictures,
    data: str | None,
    with_pictures: bool,
) -> tuple[str, list[str]]:
    """Return (the page that compares runs, the parts that it lacks)."""
    from toolchain.reporting.page import render

    missing = [f"{one.name}: {gap}" for one in read for gap in one.gaps]

    def place(evaluation: StoredEvaluation) -> Path | None:
        found = place_of(evaluation, data)
        if not with_pictures:
            return None
        if not found.is_dir():
            missing.append(f"photographs: {found} is no longer there; say where with --data")
            return None
        return found

    compared = comparison(read, place, pictures)
    page = render(
        "comparison.html",
        compared=compared,
        runs=[one.name for one in read],
        pictures=pictures,
        missing=missing,
        version=__version__,
    )
    return page, missing
