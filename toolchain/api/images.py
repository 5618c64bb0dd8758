"""Images from Python: label them with a model file, or check a data set of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from toolchain.api.arguments import (
    Count,
    Device,
    Location,
    NotNegative,
    OnError,
    OnNonfinite,
    Progress,
    Threads,
    checked,
    checked_path,
    checked_paths,
    checked_progress,
)
from toolchain.api.packages import names_missing_packages
from toolchain.errors import SettingsError, shown_value
from toolchain.files import is_folder
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runtime.card import Task

if TYPE_CHECKING:
    from toolchain.data.audit_result import Audit
    from toolchain.prediction.inputs import InputImage
    from toolchain.prediction.predictions import Predictions
    from toolchain.prediction.rows import PredictionRows
    from toolchain.runtime.predictor import Predictor


@names_missing_packages
def predict(
    model: Location | Predictor,
    inputs: Location | Sequence[Location] = (),
    *,
    files_from: Location | Sequence[Location] = (),
    provider: str = "cpu",
    threads: int | None = None,
    batch_size: int = 8,
    workers: int | None = None,
    null: bool = False,
    on_error: OnError = "continue",
    on_nonfinite: OnNonfinite = "raise",
    sha256: str | None = None,
    cache: bool = True,
    progress: Progress = None,
) -> Predictions:
    """Label images with a model file; needs no torch (`rtl predict`).

    `model` is a file, or a run folder, which its export/model.onnx answers or else torch; or a
    Predictor that is open already, whose provider, threads, cache and other options then hold.
    `inputs` are image files, folders, and patterns such as `photos/**/*.jpg`; `files_from` are
    files with a path a line, or with `null` a zero byte after each path. `workers` is how many
    images are under way at once, by default one for each core. `on_nonfinite="keep"` returns
    predictions whose outputs are NaN or infinite, without a label; `sha256` is the digest that the
    file must have. For images that are not in files, and for more than fit into memory as results,
    use `Predictor` and its `predict_many`.

    Returns (file name, Prediction) for each image, in order; one that can't be read has an
    ImageError in its place. Folders and patterns without images are no rows; their errors are in
    `not_found`, and `left_out` counts the files in folders that were passed over. With
    `on_error="fail"` the first error of either kind is raised. Raises ModelFileError or
    ProviderError for a model that can't be opened, SettingsError.

    >>> import toolchain as rtl
    >>> [(name, prediction)] = rtl.predict(model, photo)
    >>> prediction.label in prediction.classes
    True
    """
    opening: dict[str, Any] = {
        "provider": checked("provider", provider, str),
        "threads": checked("threads", threads, Threads | None),
        "cache": checked("cache", cache, bool),
        "sha256": _checked_digest(sha256),
        "on_nonfinite": checked("on_nonfinite", on_nonfinite, OnNonfinite),
    }
    options = _Options(
        _inputs("inputs", inputs),
        _inputs("files_from", files_from),
        checked("batch_size", batch_size, Count),
        checked("workers", workers, Threads | None),
        checked("null", null, bool),
        checked("on_error", on_error, OnError),
        checked_progress(progress),
    )
    if not (options.inputs or options.files_from):
        raise SettingsError("inputs: none is given, nor files_from")
    if not isinstance(model, str | os.PathLike):
        return _predict(_checked_predictor(model), options)
    with _opened(checked_path("model", model), options.reporter, opening) as predictor:
        return _predict(predictor, options)


def _opened(model: str, reporter: ProgressReporter, opening: dict[str, Any]) -> Predictor:
    """Open a model file, or the run in a folder: by its export, else by torch."""
    if is_folder(model):
        from toolchain.backends.run_model import open_predictor

        return open_predictor(model, report=reporter.message, **opening)
    from toolchain.runtime.predictor import Predictor

    return Predictor(model, **opening)


def _checked_digest(sha256: str | None) -> str | None:
    """Return a digest in lower case. Raises SettingsError for what is none."""
    from toolchain.runtime.modelfile import checked_digest

    try:
        return None if sha256 is None else checked_digest(sha256)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"sha256: {str(error).removeprefix('sha256 ')}") from error


class _Options(NamedTuple):
    """The arguments of `predict` that do not concern the model."""

    inputs: Sequence[str]
    files_from: Sequence[str]
    batch_size: int
    workers: int | None
    null: bool
    on_error: OnError
    reporter: ProgressReporter


def _inputs(name: str, values: Location | Sequence[Location]) -> tuple[str, ...]:
    texts = checked_paths(name, values)
    if "-" in texts:
        raise SettingsError(
            f"{name}: '-' is standard input for the command only; './-' is a file of this name, "
            "and a Predictor takes the bytes of an image"
        )
    return texts


def _checked_predictor(model: object) -> Predictor:
    """Return a model that is open already. Raises SettingsError where it is no Predictor."""
    from toolchain.runtime.predictor import Predictor

    if not isinstance(model, Predictor):
        raise SettingsError(f"model: {shown_value(model)} is not a path or a Predictor")
    return model


def _predict(predictor: Predictor, options: _Options) -> Predictions:
    from toolchain.prediction.predict import predict as story
    from toolchain.prediction.predict import predict_here
    from toolchain.prediction.predictions import Predictions
    from toolchain.prediction.sinks import InMemory

    sink = InMemory()

    def compute(images: Iterable[InputImage]) -> PredictionRows:
        silent = isinstance(options.reporter, SilentReporter)
        total = 0 if silent else _count_images(options)
        many = predict_here(predictor, options.batch_size, options.workers, images)
        with contextlib.closing(many) as rows:
            yield from options.reporter.track(rows, "predicting", total)

    summary = story(
        predictor,
        options.inputs,
        files_from=options.files_from,
        null=options.null,
        sink=sink,
        on_error=options.on_error,
        compute=compute,
    )
    if options.on_error == "fail" and summary.not_found:
        raise summary.not_found[0]
    return Predictions(
        sink.rows,
        predictor.card.task,
        not_found=summary.not_found,
        left_out=summary.left_out,
    )


def _count_images(options: _Options) -> int:
    from toolchain.prediction.inputs import Inputs

    return Inputs(options.inputs, options.files_from, null=options.null).count() or 0


@names_missing_packages
def check_data(
    data: Location,
    *,
    task: Task = "single-label",
    split_ratio: str = "7:1:2",
    split_seed: int = 0,
    group_column: str = "",
    exclude: Location = "",
    fix_list: Location = "",
    weights: Location = "",
    run: Location = "",
    device: Device = "auto",
    progress: Progress = None,
) -> Audit:
    """Read every image of a data set and list what would hurt training (`rtl data check`).

    Returns the images of each class and split, the files that can't be read, the same images in two
    splits or with different classes, images that look the same, what is wrong with single images,
    and what was left out; `problems` has what spoils training in a few words. Data without splits
    of its own is split as `finetune` does with the same `split_ratio`, `split_seed` and
    `group_column`. `exclude` is a list of images to leave out; `fix_list` is a CSV that gets what
    to do about each image, which `finetune(exclude=…)` takes. Nothing else is written. `weights` (a
    file, a run folder or "imagenet") or `run` is a network whose features judge the labels, by
    default ImageNet's where torch's cache has it; `label_errors` has the suspects. Raises
    DataError for a folder that can't be used; where that is for its unreadable files, the audit is
    the error's `result`. SettingsError.

    >>> import toolchain as rtl
    >>> rtl.check_data(data).per_class["down"]
    {'train': 16, 'val': 8, 'test': 0}
    """
    data, task = checked_path("data", data), checked("task", task, Task)
    reporter = checked_progress(progress)
    from toolchain.checking import check as story
    from toolchain.data.splits import Splitting

    splitting = Splitting(
        checked("split_ratio", split_ratio, str),
        checked("split_seed", split_seed, NotNegative),
        checked("group_column", group_column, str),
    )
    options = story.CheckOptions(
        task,
        splitting,
        "" if exclude == "" else checked_path("exclude", exclude),
        "" if fix_list == "" else checked_path("fix_list", fix_list),
        "" if weights == "" else checked_path("weights", weights),
        "" if run == "" else checked_path("run", run),
        checked("device", device, Device),
    )
    return story.check_data(data, options, progress=reporter)
