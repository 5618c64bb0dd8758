"""Which images a run is evaluated on, and whether they are those that its records speak of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from toolchain.data.audit import split_fingerprint
from toolchain.data.evaluation_set import ALL, EvaluationSet, read_evaluation_set
from toolchain.data.layouts import Dataset, Sample
from toolchain.data.left_out import left_out_lines
from toolchain.errors import DataError
from toolchain.files import display_path, file_sha256
from toolchain.printable import shell_words
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.cores import usable_cores


@dataclass(frozen=True)
class EvaluatedImages:
    """The images of an evaluation."""

    dataset: Dataset
    """What they are part of; its classes are those of the run."""
    split: str
    samples: list[Sample]
    """Readable, with their digests; none of them is unlabelled."""
    fingerprint: str
    """sha256 over split, label and content of the samples."""
    as_trained: bool | None
    """Whether they are the images that this split had at training; None where that is unknown."""
    notes: tuple[str, ...] = ()
    """What to know about the choice, one line each."""

    @property
    def names(self) -> list[str]:
        """The names of the images, relative to the data."""
        return [self.dataset.name_of(sample.path) for sample in self.samples]


def camera_note(run: TrainedRun, images: EvaluatedImages) -> str | None:
    """Return that a run was trained for another camera than that of its own images.

    None for a run of one camera, and for images of another place.
    """
    own = run.data is None or images.as_trained is True
    if not own or not run.card.for_other_camera:
        return None
    return (
        "the model is for another camera, these images are not of it; to measure it there: "
        "--data FOLDER, photographs of that camera in a folder for each class"
    )


def images_to_evaluate(run: TrainedRun, split: str) -> EvaluatedImages:
    """Return the images of a split; `auto` is test if there is one, else val.

    For `run.data` without training images `auto` is all of its images, without those that the run
    was trained on. Raises DataError where there is nothing to evaluate.
    """
    if run.data is not None and run.card.task == "single-label":
        prefer = "val" if split == "val" else "test"
        found = read_evaluation_set(run.data, run.card.classes, prefer=prefer)
        if found is not None and split in ("auto", found.split):
            return _own_split(run) or _of_other_data(run, found)
        if found is not None and found.split != ALL:
            raise DataError(f"{found.root} has no {split} split", hint=f"--split {found.split}")
    dataset = run.dataset
    if split == "auto" and run.data is not None and dataset.by_hash:
        own = _own_split(run)
        return own or _without_training_images(run, _merged(dataset), ())
    return _of_split(run, dataset, split)


def _of_split(run: TrainedRun, dataset: Dataset, split: str) -> EvaluatedImages:
    if split == "auto":
        split = "test" if dataset.test else "val"
    if not dataset.split(split):
        raise DataError(f"{dataset.root} has no {split} split", hint="--split val")
    images = _with_digests(run, dataset, split, run.readable(split))
    if images.as_trained is not False:
        return images
    if run.data is not None:
        seen = sum(run.was_trained_on(sample) for sample in images.samples)
        if not seen or split == "train":
            return images
        line = f"{seen} of them are images that {run.folder.path} was trained on: too good"
        return replace(images, notes=(line,))
    changed = f"the {split} images or labels have changed since {run.folder.path} was trained"
    return replace(images, notes=(f"{changed}: its card keeps the metrics that it has",))


def _own_split(run: TrainedRun) -> EvaluatedImages | None:
    """Return the run's own split of its own data in another place; None for other images."""
    try:
        dataset = run.dataset
    except DataError:
        return None
    if not dataset.test and not dataset.val:
        return None
    images = _of_split(run, dataset, "auto")
    if not images.as_trained:
        return None
    note = f"these are the run's own images, split {dataset.split_by}: its {images.split} split"
    return replace(images, notes=(note,))


def _of_other_data(run: TrainedRun, found: EvaluationSet) -> EvaluatedImages:
    run.require_classes(str(found.root), found.unknown, every=False)
    labelled = {label for sample in found.samples for label in sample.labels}
    absent = [name for i, name in enumerate(run.card.classes) if i not in labelled]
    if len(absent) == len(run.card.classes):
        raise DataError(
            f"{found.root}: no images in folders of the run's classes",
            hint=f"the run knows {', '.join(run.card.classes[:20])}",
        )
    notes = [f"no images of {', '.join(absent)}"] if absent else []
    notes += left_out_lines(found.left_out)
    dataset = Dataset(
        root=found.root,
        classes=run.card.classes,
        train=(),
        val=() if found.split != "val" else found.samples,
        test=() if found.split == "val" else found.samples,
        split_by="all of it" if found.split == ALL else f"the folder {found.split}/",
        task=run.card.task,
        left_out=found.left_out,
    )
    return _without_training_images(run, dataset, tuple(notes), split=found.split)


def _merged(dataset: Dataset) -> Dataset:
    """Return a data set that the hash would have split as one, in the order of the names."""
    samples = [*dataset.train, *dataset.val, *dataset.test]
    samples.sort(key=lambda sample: dataset.name_of(sample.path))
    return replace(dataset, train=(), val=(), test=tuple(samples), split_by="all of it")


def _without_training_images(
    run: TrainedRun, dataset: Dataset, notes: tuple[str, ...], *, split: str = ALL
) -> EvaluatedImages:
    """Return all images of other data but those that the run was trained on, by their bytes."""
    images = _with_digests(run, dataset, split, [*dataset.val, *dataset.test])
    unseen = [sample for sample in images.samples if not run.was_trained_on(sample)]
    left_out = len(images.samples) - len(unseen)
    if not left_out:
        return replace(images, as_trained=False, notes=notes)
    if not unseen:
        raise DataError(
            f"{dataset.root}: the run was trained on all of its {left_out} images",
            hint="--split train measures on training images",
        )
    line = f"left out {left_out} images that {run.folder.path} was trained on"
    fingerprint = split_fingerprint(dataset, split, unseen)
    return EvaluatedImages(dataset, split, unseen, fingerprint, False, (*notes, line))


def _with_digests(
    run: TrainedRun, dataset: Dataset, split: str, samples: Sequence[Sample]
) -> EvaluatedImages:
    if not samples:
        raise DataError(
            f"{display_path(dataset.root)} has no readable image in its {split} split",
            hint=shell_words("rtl", "data", "check", dataset.root),
        )
    with ThreadPoolExecutor(usable_cores()) as pool:
        digests = list(pool.map(_digest, [sample.path for sample in samples]))
    known = [replace(s, digest=digest) for s, digest in zip(samples, digests, strict=True)]
    fingerprint = split_fingerprint(dataset, split, known)
    before = run.audit.fingerprints.get(split) if run.audit else None
    as_trained = None if before is None else before == fingerprint
    return EvaluatedImages(dataset, split, known, fingerprint, as_trained)


def _digest(path: Path) -> str:
    """Return the sha256 of a file's bytes; a file that can't be read has that of its name."""
    try:
        return file_sha256(path)
    except OSError:
        return hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()
