"""The photographs of another camera that a model is trained for, each read once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain.data.audit import file_checks
from toolchain.data.layouts import Dataset, Sample
from toolchain.data.left_out import left_out_lines
from toolchain.data.target import TargetFolder, fingerprint_of, read_target
from toolchain.display import counted
from toolchain.errors import DataError
from toolchain.files import unicode_name, write_json
from toolchain.progress import ProgressReporter
from toolchain.runs.alignment import LabelledFigures, RunAlignment, read_alignment
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runtime.card import Alignment
from toolchain.training.data import changed_count

UNKNOWN = -1
"""The label of a photograph that has none."""
FEWEST = 20
"""Photographs that statistics and distributions are estimated from."""


@dataclass(frozen=True)
class TargetImages:
    """Photographs of another camera, each content once, none of them in the data set itself."""

    root: Path
    samples: tuple[Sample, ...]
    """Sorted by content; the label is UNKNOWN where labels.csv has none."""

    @property
    def labelled(self) -> tuple[Sample, ...]:
        """Those whose class is known."""
        return tuple(sample for sample in self.samples if sample.label != UNKNOWN)

    def record(self, settings: FinetuneSettings) -> Alignment:
        """Return what the run and the card say of them."""
        assert settings.align != "auto"
        return Alignment(
            method=settings.align,
            target_sha256=fingerprint_of(_content(sample) for sample in self.samples),
            target_images=len(self.samples),
            labelled_images=len(self.labelled),
        )


def read_target_images(
    settings: FinetuneSettings, dataset: Dataset, progress: ProgressReporter
) -> TargetImages | None:
    """Return the photographs of `settings.target` that can be used; None where there is no target.

    Says what is left out. Raises DataError for a folder that can't serve.
    """
    if not settings.target:
        return None
    folder = read_target(settings.target, dataset.classes, "--target")
    for line in left_out_lines(folder.left_out):
        progress.message(line)
    samples = _usable(folder, dataset, progress)
    target = TargetImages(folder.root, samples)
    _require_enough(target, settings)
    with_labels = f", {len(target.labelled)} with a label" if target.labelled else ""
    progress.message(
        f"{folder.root}: {counted(len(samples), 'image')} of the other camera{with_labels}"
    )
    if lacking := _classes_without_label(target, dataset):
        progress.message(
            f"no labelled photograph of {', '.join(lacking[:20])}: labels are trained on, so the "
            "model will name the other classes more often; name some photographs of each class"
        )
    return target


def _classes_without_label(target: TargetImages, dataset: Dataset) -> list[str]:
    """Return the classes that labels.csv has no photograph of; empty where it has none at all."""
    known = {sample.label for sample in target.labelled}
    return [name for label, name in enumerate(dataset.classes) if known and label not in known]


def write_alignment(
    run: RunFolder,
    target: TargetImages | None,
    settings: FinetuneSettings,
    figures: LabelledFigures | None = None,
) -> None:
    """Write which photographs a run is trained for, where there are some.

    `figures` are what the labelled ones were measured to be worth.
    """
    if target is not None:
        record = RunAlignment(alignment=target.record(settings), labelled=figures)
        write_json(run.alignment, record)


def require_target_there(run: RunFolder, settings: FinetuneSettings) -> None:
    """Raise DataError where the photographs of a stopped run are no longer at their place."""
    if settings.target and not Path(settings.target).is_dir():
        raise DataError(
            f"{settings.target}: the photographs that {run.path} is trained for are not there",
            hint=f"move them back, or write their new place as target into {run.settings}",
        )


def require_same_target(
    run: RunFolder, target: TargetImages | None, settings: FinetuneSettings
) -> None:
    """Raise DataError where the photographs or their labels have changed since the run began."""
    if target is None:
        return
    found = read_alignment(run)
    if found is None:
        write_alignment(run, target, settings)  # the run was stopped before it was written
    elif found.alignment != target.record(settings):
        raise DataError(
            f"{target.root} has changed since {run.path} began: "
            + changed_count(found.alignment.target_images, len(target.samples), "photograph"),
            hint=f"start anew: {run.begun_anew(settings.data, '--target', target.root)}",
        )


def _usable(
    folder: TargetFolder, dataset: Dataset, progress: ProgressReporter
) -> tuple[Sample, ...]:
    """Return the photographs that can be read, without copies and images of the data set."""
    checks = progress.track(
        file_checks(folder.paths), "reading the other camera's images", len(folder.paths)
    )
    splits = (dataset.train, dataset.val, dataset.test)
    own = {sample.digest for split in splits for sample in split}
    found: dict[str, Sample] = {}
    unreadable: list[str] = []
    known = copies = labels_lost = 0
    for path, check in zip(folder.paths, checks, strict=True):
        if check.error is not None:
            unreadable.append(f"{_name(folder, path)}: {check.error}")
            labels_lost += path in folder.labels
            continue
        label = folder.labels.get(path, UNKNOWN)
        earlier = found.get(check.digest)
        if check.digest in own:
            known += 1
            labels_lost += path in folder.labels
        elif earlier is None:
            found[check.digest] = Sample(path, label, check.digest)
        else:
            copies += 1
            found[check.digest] = _with_label(folder, earlier, path, label)
    _report(unreadable, known, copies, progress)
    if labels_lost:
        named = counted(len(folder.labels), "photograph")
        progress.message(f"among these {labels_lost} of the {named} in labels.csv")
    if known and not found:
        raise DataError(
            f"{folder.root}: all of its images are in the data set itself",
            hint="--target is a folder of photographs of another camera, outside of the data set",
        )
    return tuple(sorted(found.values(), key=lambda sample: sample.digest))


def _with_label(folder: TargetFolder, sample: Sample, path: Path, label: int) -> Sample:
    """Return a photograph with the label of its copy; DataError where both have another one."""
    if UNKNOWN not in (label, sample.label) and label != sample.label:
        names = f"{_name(folder, sample.path)} and {_name(folder, path)}"
        raise DataError(
            f"{folder.root}: {names} are the same image and have different labels",
            hint="correct its labels.csv",
        )
    return sample if label == UNKNOWN else Sample(path, label, sample.digest)


def _report(unreadable: list[str], known: int, copies: int, progress: ProgressReporter) -> None:
    if unreadable:
        progress.message(
            f"left out {counted(len(unreadable), 'unreadable file')}, first {unreadable[0]}"
        )
    if known:
        progress.message(f"left out {counted(known, 'image')} of the data set itself")
    if copies:
        progress.message(f"left out {counted(copies, 'image')} with the content of another")


def _require_enough(target: TargetImages, settings: FinetuneSettings) -> None:
    count, labelled = len(target.samples), len(target.labelled)
    if settings.align == "none":
        if not labelled:
            raise DataError(
                f"{target.root}: no image has a label, and align none uses nothing else",
                hint="name some in its labels.csv (columns file,label), or choose another align",
            )
    elif count < FEWEST:
        alone = "align none trains on the labelled ones alone" if labelled else None
        raise DataError(
            f"{target.root} has {counted(count, 'image')} that can be used; "
            f"to align, {FEWEST} are needed",
            hint=alone or "add photographs: with fewer, chance decides what is aligned",
        )


def _content(sample: Sample) -> str:
    return f"{sample.digest} {sample.label}"


def _name(folder: TargetFolder, path: Path) -> str:
    try:
        return unicode_name(path.relative_to(folder.root).as_posix())
    except ValueError:
        return unicode_name(path.as_posix())
