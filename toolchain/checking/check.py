"""`rtl data check`: read a data set, find what is wrong with it, and list what to mend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from toolchain.checking.backbone import has_default_weights, open_backbone
from toolchain.checking.label_errors import find_label_errors
from toolchain.data.audit import audit_dataset, is_inside
from toolchain.data.audit_result import Audit
from toolchain.data.exclusion import without_excluded
from toolchain.data.fix_list import write_fix_list
from toolchain.data.layouts import Dataset, read_dataset
from toolchain.data.split_names import SPLITS
from toolchain.data.splits import USUAL, Splitting
from toolchain.errors import DataError, SettingsError
from toolchain.files import require_writable
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runtime.card import Task


@dataclass(frozen=True)
class CheckOptions:
    """What `rtl data check` is asked for, besides the data."""

    task: Task = "single-label"
    splitting: Splitting = USUAL
    exclude: str = ""
    """A list of images to leave out; empty for none."""
    fix_list: str = ""
    """The file that gets what to do about each image; empty for none."""
    weights: str = ""
    """Weights whose features judge the labels, as `rtl finetune` takes them; empty for those of
    ImageNet where torch's cache has them."""
    run: str = ""
    """A run folder whose network does that instead; empty for none."""
    device: str = "auto"
    """Where that network runs."""


def check_data(
    data: str, options: CheckOptions | None = None, *, progress: ProgressReporter | None = None
) -> Audit:
    """Return what is wrong with a data set; of all files only `options.fix_list` is written.

    Raises DataError for data or lists that can't be used. Where that is for unreadable files, the
    audit is the error's `result`, and the fix list is written too. It is the result as well where
    the list can't be written in the end.
    """
    options, progress = options or CheckOptions(), progress or SilentReporter()
    _require_list_outside(data, options.fix_list)
    dataset = without_excluded(read_dataset(data, options.task, options.splitting), options.exclude)
    _require_one_network(options)
    try:
        readable, audit = audit_dataset(dataset, progress, thorough=True)
    except DataError as error:
        if isinstance(error.result, Audit):
            _write_fix_list(options.fix_list, dataset, error.result, progress)
        raise
    audit = _with_labels(audit, readable, options, progress)
    _write_fix_list(options.fix_list, dataset, audit, progress)
    return audit


def _with_labels(
    audit: Audit, readable: Dataset, options: CheckOptions, progress: ProgressReporter
) -> Audit:
    """Return the audit with the labels that may be wrong, or why they were not looked for."""
    if reason := _why_not(readable, options):
        return msgspec.structs.replace(audit, labels_not_checked=reason)
    weights = options.weights or "imagenet"
    backbone = open_backbone(weights, options.run, readable, progress)
    found = find_label_errors(readable, backbone, options.device, progress)
    return msgspec.structs.replace(audit, label_errors=found)


def _why_not(dataset: Dataset, options: CheckOptions) -> str:
    if dataset.task != "single-label":
        return "an image has any number of them"
    if not (options.weights or options.run or has_default_weights()):
        return "which takes a network: --weights FILE or --run RUN"
    return ""


def _require_one_network(options: CheckOptions) -> None:
    if options.weights and options.run:
        raise SettingsError("weights and run: give one of them", hint="--run RUN is enough")


def _require_list_outside(data: str, fix_list: str) -> None:
    """Raise DataError for a list that can't be written, or lies inside the data folder."""
    if not fix_list:
        return
    if Path(data).is_dir() and is_inside(fix_list, Path(data)):
        raise DataError(
            f"{fix_list} lies inside the data folder {data}, which rtl never writes to",
            hint="choose another place with --fix-list",
        )
    require_writable(Path(fix_list))


def _write_fix_list(file: str, dataset: Dataset, audit: Audit, progress: ProgressReporter) -> None:
    if not file:
        return
    split_of = {
        dataset.name_of(sample.path): split for split in SPLITS for sample in dataset.split(split)
    }
    try:
        rows = write_fix_list(Path(file), audit, split_of)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        refused = DataError(f"{file} can't be written: {reason}", hint="--fix-list FILE elsewhere")
        refused.result = audit
        raise refused from error
    progress.message(f"{rows} rows in {file}; those that say exclude are left out by --exclude")
