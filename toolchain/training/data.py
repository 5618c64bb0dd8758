"""The data set of a run: read, audited, reported, and compared when a run is resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from toolchain.data.audit import audit_dataset, is_inside
from toolchain.data.audit_result import Audit
from toolchain.data.exclusion import without_excluded
from toolchain.data.fix_list import EXCLUDE, Fix, write_rows
from toolchain.data.layouts import Dataset, Sample, read_dataset
from toolchain.data.left_out import left_out_lines
from toolchain.display import counted
from toolchain.errors import DataError
from toolchain.files import real_path, write_text
from toolchain.printable import shell_words
from toolchain.progress import ProgressReporter
from toolchain.runs.damage import reading
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import settings_toml
from toolchain.runs.stored_settings import stored_settings
from toolchain.training.distributed import Processes


def read_data(
    settings: FinetuneSettings,
    output: Path | None,
    processes: Processes,
    progress: ProgressReporter,
    listed: Callable[[Dataset], None] | None = None,
) -> tuple[Dataset, Audit]:
    """Return the data set without its unreadable images, and its audit; reports a summary of both.

    `output` is the folder that will be written; None for none. `listed` is called with the images
    that were found before any is read, which can take minutes: it raises what their number makes
    impossible. Of several processes, rank zero reads and the others receive the result. Raises
    DataError for data that can't be trained on, and for an `output` inside the data folder.
    """
    return processes.run_on_rank_zero(lambda: _read_and_report(settings, output, progress, listed))


def data_name(data: str) -> str:
    """Return the name of a data set, for the names of folders."""
    path = real_path(data)
    return path.stem if path.is_file() else path.name


def require_there(data: str, run: RunFolder) -> None:
    """Raise DataError where the images of a stopped run are no longer at their place."""
    if not Path(data).exists():
        raise DataError(
            f"{data}: the data of {run.path} is no longer there",
            hint=f"say where: rtl finetune --resume {shell_words(run.path)} --data DATA",
        )


def remember_data(run: RunFolder, data: str) -> None:
    """Write the new place of the images into the run's settings, for the commands after it."""
    settings = stored_settings(run.settings)
    moved = msgspec.structs.replace(settings, data=str(real_path(data)))
    write_text(run.settings, settings_toml(moved))


def changed_count(before: int, now: int, noun: str) -> str:
    """Return what differs between two collections of images that are not the same.

    >>> changed_count(42, 40, "file"), changed_count(42, 42, "file")
    ('42 files then, 40 now', 'as many files as then (42), with other contents, names or labels')
    """
    if before == now:
        return f"as many {noun}s as then ({now}), with other contents, names or labels"
    return f"{before} {noun}s then, {now} now"


def require_same_data(run: RunFolder, audit: Audit) -> None:
    """Raise DataError where images or labels have changed since the run began."""
    if not run.audit.is_file():
        return  # the run was stopped before its audit was written
    with reading(run.audit):
        before = msgspec.json.decode(run.audit.read_bytes(), type=Audit)
    if before.fingerprint != audit.fingerprint:
        raise DataError(
            f"{audit.data} has changed since {run.path} began: "
            + changed_count(before.images, audit.images, "file"),
            hint=f"start anew: {run.begun_anew(audit.data)}",
        )


def audit_warnings(audit: Audit) -> list[str]:
    """Return one line for each kind of problem that the audit found."""
    lines = [*left_out_lines(audit.left_out), *audit.notes]
    if audit.unreadable:
        first = audit.unreadable[0]
        lines.append(
            f"left out {counted(len(audit.unreadable), 'unreadable file')}, "
            f"first {first.file}: {first.reason}"
        )
    if audit.leaks:
        lines.append(
            f"{_groups(audit.leaks, 'equal images')} in more than one split, "
            f"first {audit.leaks[0][0]}: validation is too optimistic"
        )
    if audit.near_leaks:
        lines.append(
            f"{_groups(audit.near_leaks, 'images that look the same')} in more than one split, "
            f"first {' ~ '.join(audit.near_leaks[0][:2])}; rtl data check lists them"
        )
    if audit.label_conflicts:
        lines.append(
            f"{_groups(audit.label_conflicts, 'equal images')} with different classes, "
            f"first {audit.label_conflicts[0][0]}"
        )
    if audit.rare_classes:
        lines.append(f"far fewer images than in the largest class: {', '.join(audit.rare_classes)}")
    return lines


def _groups(found: Sequence[Sequence[str]], what: str) -> str:
    return counted(len(found), f"group of {what}", f"groups of {what}")


def write_excluded(run: RunFolder, dataset: Dataset) -> None:
    """Write the names of the images that `--exclude` has taken out: its list may be moved."""
    if dataset.excluded:
        write_rows(run.excluded, [Fix(name, "excluded", EXCLUDE) for name in dataset.excluded])


def require_outside_data(settings: FinetuneSettings, output: Path) -> None:
    """Raise DataError for an output inside the data folder, or that of another camera.

    Only a folder of images is protected: a list file may lie in any folder, runs beside it.
    """
    if settings.target and is_inside(output, Path(settings.target)):
        raise DataError(
            f"{output} lies inside the folder {settings.target} of --target, which rtl never "
            "writes to",
            hint="choose another folder with -o",
        )
    if Path(settings.data).is_dir() and is_inside(output, Path(settings.data)):
        raise DataError(
            f"{output} lies inside the data folder {settings.data}, which rtl never writes to",
            hint="choose another folder with -o",
        )


def _read_and_report(
    settings: FinetuneSettings,
    output: Path | None,
    progress: ProgressReporter,
    listed: Callable[[Dataset], None] | None,
) -> tuple[Dataset, Audit]:
    if output is not None:
        require_outside_data(settings, output)
    found = read_dataset(settings.data, settings.task, settings.splitting)
    found = without_excluded(found, settings.exclude)
    if listed is not None:
        listed(found)
    try:
        dataset, audit = audit_dataset(found, progress)
    except DataError as error:
        if isinstance(error.result, Audit):  # first what can't be read, then the verdict
            _report(audit_warnings(error.result), progress)
        raise
    dataset = _sorted_by_name(dataset)
    counts = ", ".join(f"{len(dataset.split(s))} {s}" for s in ("train", "val", "test"))
    progress.message(
        f"{dataset.root}: {len(dataset.classes)} classes; {counts} ({dataset.split_by})"
    )
    _report(audit_warnings(audit), progress)
    if audit.leaks and not settings.allow_leaks:
        raise _leaks(settings, audit)
    return dataset, audit


def _leaks(settings: FinetuneSettings, audit: Audit) -> DataError:
    """Return the error of data whose validation or test images are training images too."""
    count = len(audit.leaks)
    what = "1 image stands" if count == 1 else f"{count} images stand"
    check = shell_words("rtl", "data", "check", settings.data)
    return DataError(
        f"{audit.data}: {what} in more than one split, first {' = '.join(audit.leaks[0][:2])}; "
        "what is measured on them is too good",
        hint=f"{check} --fix-list leaks.csv lists them, and --exclude leaks.csv leaves them out; "
        "or --allow-leaks",
    )


def _report(lines: list[str], progress: ProgressReporter) -> None:
    for line in lines:
        progress.message(line)


def _sorted_by_name(dataset: Dataset) -> Dataset:
    """Return the data set with its images sorted by name: the order of a list must not matter."""

    def by_name(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return tuple(sorted(samples, key=lambda sample: dataset.name_of(sample.path)))

    return replace(
        dataset,
        train=by_name(dataset.train),
        val=by_name(dataset.val),
        test=by_name(dataset.test),
    )
