"""Run folders from Python: train one, go on with it, evaluate it, report on it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.api.arguments import (
    Count,
    Device,
    Location,
    Progress,
    Split,
    Workers,
    checked,
    checked_path,
    checked_paths,
    checked_progress,
    optional_path,
    without_numpy,
)
from toolchain.api.packages import names_missing_packages
from toolchain.errors import SettingsError
from toolchain.progress import NotesFirst

if TYPE_CHECKING:
    from toolchain.evaluation.evaluate import Evaluation
    from toolchain.reporting.result import ReportFile
    from toolchain.runs.settings_file import GivenSettings
    from toolchain.training.finetune_result import FinetuneResult
    from toolchain.training.lr_find import LrFindResult


@names_missing_packages
def finetune(
    data: Location | None = None,
    output: Location | None = None,
    *,
    config: Location | None = None,
    progress: Progress = None,
    **settings: Any,
) -> FinetuneResult:
    """Fine-tune a ResNet on a folder of images and leave a run folder (`rtl finetune`).

    `data` is a folder with train/ and val/ and a folder for each class in them, a folder for each
    class, a list `train.txt`, or for `task="multi-label"` a CSV; it is only read. `output` is the
    run folder, by default a new one in `runs/`. `config` is a TOML file of settings; `settings`
    replace what it says: `arch`, `weights`, `strategy`, `epochs`, `batch_size`, `lr_head` and all
    others of docs/settings.md, by their TOML keys.

    Returns the run folder, the data set, its audit, the figures of the best epoch and the time in
    seconds. Raises SettingsError, which names the setting; DataError for data that
    can't be used; TrainingError for what stops training; Interrupted for Ctrl-C after an epoch.

    >>> import toolchain as rtl
    >>> result = rtl.finetune(data, "runs/first", weights="none", size=32, epochs=1, workers=0)
    >>> result.run.weights.name
    'model.safetensors'
    """
    started = time.monotonic()
    chosen, output = gathered_settings(data, config, settings), optional_path("output", output)
    reporter = NotesFirst(checked_progress(progress), chosen.notes)
    from toolchain.select.choose import choosers_for
    from toolchain.training import finetune as story

    with chosen.sources.named():
        choosers = choosers_for(chosen, started=started)
        return story.finetune(chosen.settings, output, progress=reporter, choosers=choosers)


@names_missing_packages
def resume(
    run: Location,
    *,
    data: Location | None = None,
    workers: int | None = None,
    device: Device | None = None,
    progress: Progress = None,
) -> FinetuneResult:
    """Go on with a run that was stopped (`rtl finetune --resume`).

    The run's own settings hold, but for `workers` and `device`; `data` is where the images are now,
    if they were moved. On a CPU it ends with the weights
    that it would have had without the stop. Raises DataError where the folder is no run or its data
    has changed, TrainingError where it has finished or another process trains it, SettingsError.

    >>> import toolchain as rtl
    >>> rtl.resume(run)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    toolchain.errors.TrainingError: ... has finished; there is nothing to resume
    """
    run, data = checked_path("run", run), optional_path("data", data)
    workers = checked("workers", workers, Workers | None)
    device = checked("device", device, Device | None)
    reporter = checked_progress(progress)
    from toolchain.training import finetune as story

    return story.resume(run, data=data, workers=workers, device=device, progress=reporter)


@names_missing_packages
def find_lr(
    data: Location | None = None,
    output: Location | None = None,
    *,
    config: Location | None = None,
    progress: Progress = None,
    **settings: Any,
) -> LrFindResult:
    """Try growing learning rates on a few batches (`rtl finetune --lr-find`); nothing is trained.

    Arguments are those of `finetune`; `output` is a folder for lr-find.json and lr-find.png.
    Returns the rates, the loss of each, and the suggested `lr_head` and `lr_backbone`, which are
    None where the loss falls at no rate. Raises as `finetune` does.

    >>> import toolchain as rtl
    >>> result = rtl.find_lr(data, "runs/rates", weights="none", size=32, batch_size=8, workers=0)
    >>> len(result.rates) == len(result.losses)
    True
    """
    chosen, output = gathered_settings(data, config, settings), optional_path("output", output)
    chosen.require_one_source("find_lr")
    reporter = NotesFirst(checked_progress(progress), chosen.notes)
    from toolchain.training import lr_find as story

    with chosen.sources.named():
        return story.find_lr(chosen.settings, output, progress=reporter)


@names_missing_packages
def evaluate(
    run: Location,
    *,
    data: Location | None = None,
    split: Split = "auto",
    batch_size: int = 32,
    device: Device = "auto",
    workers: int = -1,
    progress: Progress = None,
) -> Evaluation:
    """Evaluate the trained model of a run folder on one split (`rtl evaluate`).

    `split="auto"` takes test where there is one, else val. `data` names images in another place: of
    a folder without training images all but those that the run was trained on. `workers` is how
    many processes decode images: -1 is one for each core, 0 decodes in this process. Leaves
    evaluation.json and confusion.png in the run folder, and the metrics in its card.

    Returns rates in 0…1: `accuracy` with its 95 % interval, `macro_f1`, precision, recall and F1 of
    each class, `confusion` [true class][predicted class] in images, and the result of each image.
    Raises DataError where the run or the images can't be used, SettingsError.

    >>> import toolchain as rtl
    >>> evaluation = rtl.evaluate(run, split="val", workers=0)
    >>> 0 <= evaluation.accuracy <= 1
    True
    """
    run, data = checked_path("run", run), optional_path("data", data)
    split = checked("split", split, Split)
    batch_size = checked("batch_size", batch_size, Count)
    workers = checked("workers", workers, Workers)
    device = checked("device", device, Device)
    reporter = checked_progress(progress)
    from toolchain.evaluation import evaluate as story

    return story.evaluate(
        run,
        data=data,
        split=split,
        batch_size=batch_size,
        workers=workers,
        device=device,
        progress=reporter,
    )


@names_missing_packages
def report(
    runs: Location | Sequence[Location],
    output: Location | None = None,
    *,
    data: Location | None = None,
    bench: Location | Sequence[Location] = (),
    pictures: bool = True,
    progress: Progress = None,
) -> ReportFile:
    """Write what is known of a run, or of several side by side, into one HTML file (`rtl report`).

    `output` ends in .html; by default it is report.html in the run folder, for several runs
    comparison.html in the first. `data` is where the images are, if they were moved. `bench` are
    files of `rtl bench -o` beside those in bench/ of the run. Without `pictures` the page has no
    photographs, which takes a second or two.

    Returns where the file is, its size in bytes, the number of pictures, and what it lacks. Raises
    DataError where a folder is no finished run or the file can't be written, SettingsError.

    >>> import toolchain as rtl
    >>> rtl.report(run, "first.html", pictures=False).file
    'first.html'
    """
    folders, output = checked_paths("runs", runs), optional_path("output", output)
    data, files = optional_path("data", data), checked_paths("bench", bench)
    pictures, reporter = checked("pictures", pictures, bool), checked_progress(progress)
    from toolchain.reporting import report as story

    return story.report(
        folders, output, data=data, bench=files, pictures=pictures, progress=reporter
    )


def _setting(name: str, value: Any) -> Any:
    is_text = isinstance(value, str | os.PathLike)
    return checked_path(name, value) if is_text else without_numpy(value)


def gathered_settings(
    data: Location | None,
    config: Location | None,
    settings: dict[str, Any],
    *,
    comparing: bool = False,
) -> GivenSettings:
    """Return the settings of a TOML file and, over it, those given; paths may be Path objects.

    `comparing` says that strategies are compared, so that none can be given.
    """
    from toolchain.runs.settings_file import gather_settings

    given: dict[str, Any] = {} if data is None else {"data": checked_path("data", data)}
    for name, value in settings.items():
        if isinstance(value, (list, tuple)):
            given[name] = [_setting(name, each) for each in value]
        else:
            given[name] = _setting(name, value)
    file = optional_path("config", config)
    found = gather_settings(None if file is None else Path(file), given, comparing=comparing)
    if not found.settings.data:
        raise SettingsError("data: the folder of images is not given")
    return found
