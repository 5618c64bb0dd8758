"""The story of `rtl evaluate`: a run folder answers how good it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.display import Block, Displayed, Facts, Picture, Table, percent
from toolchain.errors import DataError
from toolchain.files import display_path, write_json
from toolchain.metrics.intervals import wilson_interval
from toolchain.metrics.per_class import ClassMetrics, class_metrics, macro_f1
from toolchain.metrics.wording import accuracy_qualifier
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import Card, Metrics, Task

if TYPE_CHECKING:
    from toolchain.metrics.outputs import Outputs

Flags = NDArray[np.bool_]
Floats = NDArray[np.float32]


class ImageResult(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the trained model said about one image; the device has to say the same.

    What belongs to the other task is None, and left out of the JSON.
    """

    file: str
    label: str | None = None
    """Single-label: its true class."""
    predicted: str | None = None
    probability: float | None = None
    """Of `predicted`."""
    labels: tuple[str, ...] | None = None
    """Multi-label: its true classes, in the order of the card."""
    predicted_labels: tuple[str, ...] | None = None
    """Most probable first."""
    probabilities: tuple[float, ...] | None = None
    """Of `predicted_labels`, in their order."""


class Evaluation(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """How good a run is on one split; rates in 0…1. Described in docs/json.md."""

    version: int = 1
    run: str
    task: Task = "single-label"
    split: str
    images: int
    accuracy: float
    """The share of images that are right; for multi-label, in all classes."""
    accuracy_interval: tuple[float, float]
    """95 % Wilson interval."""
    macro_f1: float
    auc: float | None = None
    """Area under the ROC curve, mean over the classes; None where no class can be judged."""
    loss: float
    calibration_error: float | None = None
    """How far the probabilities are from the share that is right."""
    threshold: float | None = None
    """Multi-label: the probability from which a class counts as predicted."""
    per_class: list[ClassMetrics]
    confusion: list[list[int]]
    """Images [true class][predicted class], classes in the order of `per_class`. Empty for
    multi-label, where a class is not mistaken for one other."""
    results: list[ImageResult]

    def blocks(self) -> list[Block]:
        """Return a row for each class, the figures of the split, and the confusion matrix."""
        low, high = self.accuracy_interval
        accuracy = f"{percent(self.accuracy)}{accuracy_qualifier(self.task)}"
        rows = [
            ("split", f"{self.split}, {self.images} images"),
            ("accuracy", f"{accuracy} (95 % interval {percent(low)} to {percent(high)})"),
            ("macro F1", percent(self.macro_f1)),
        ]
        if self.auc is not None:
            rows.append(("AUC", f"{self.auc:.3f}"))
        if self.calibration_error is not None:
            rows.append(("calibration", f"probabilities off by {percent(self.calibration_error)}"))
        blocks: list[Block] = [_class_table(self.per_class), Facts(rows)]
        if self.task == "single-label":
            blocks.append(Picture(RunFolder(self.run).confusion, "confusion matrix"))
        return blocks


def evaluate(
    run_path: str | os.PathLike[str],
    *,
    data: str | None = None,
    split: str = "auto",
    batch_size: int = 32,
    workers: int = -1,
    device: str = "auto",
    progress: ProgressReporter | None = None,
) -> Evaluation:
    """Evaluate the trained model on a split; `auto` takes test where there is one, else val.

    Leaves evaluation.json and, for single-label, confusion.png in the run folder and, for val and
    test, the metrics in its card. `data` replaces the data folder that the run remembers. Raises
    DataError.
    """
    from toolchain.networks.device import choose_device
    from toolchain.training.inputs.samples import clean_source
    from toolchain.training.loop import predict_split

    progress = progress or SilentReporter()
    run = TrainedRun.open(run_path, data=data)
    dataset, card = run.dataset, run.card
    if split == "auto":
        split = "test" if dataset.test else "val"
    samples = dataset.split(split)
    if not samples:
        raise DataError(f"{dataset.root} has no {split} split", hint="--split val")

    progress.message(
        f"evaluating {run.folder.path} on {len(samples)} {split} images of "
        f"{display_path(dataset.root)}"
    )
    good = run.readable(split)
    if not good:
        raise DataError(f"{dataset.root} has no readable image in its {split} split")
    source = clean_source(
        good, len(card.classes), card.preprocessing, batch_size=batch_size, workers=workers
    )
    where = choose_device(device)
    classifier = run.classifier.to(where)
    outputs = predict_split(classifier, source, where, progress, label=f"evaluating {split}")

    names = [dataset.name_of(s.path) for s in good]
    folder = run.folder
    result = _evaluation(folder, split, card, outputs, names)
    write_json(folder.evaluation, result)
    if not outputs.multi_label:
        _draw_confusion(folder, result, outputs)
    if split != "train" and data is None:
        # The card speaks of images that the model was not trained on, of the run's own data.
        folder.write_card(msgspec.structs.replace(card, metrics=_card_metrics(result)))
    return result


def _class_table(per_class: list[ClassMetrics]) -> Table:
    numbers = ("images", "precision", "recall", "F1")
    rows = [
        (row.label, str(row.images), *(percent(r) for r in (row.precision, row.recall, row.f1)))
        for row in per_class
    ]
    return Table(("class", *numbers), rows, right=numbers)


def _evaluation(
    run: RunFolder, split: str, card: Card, outputs: Outputs, names: list[str]
) -> Evaluation:
    from toolchain.metrics.calibration import calibration_error

    probabilities = outputs.probabilities(card.temperature)
    # As the device decides: by the card's own threshold.
    multi_label = outputs.multi_label
    predicted = probabilities >= card.label_threshold if multi_label else outputs.predicted
    per_class = class_metrics(outputs.truth, predicted, card.classes)
    correct, images = int((predicted == outputs.truth).all(axis=1).sum()), len(names)
    results = _label_sets if multi_label else _labels
    return Evaluation(
        run=str(run.path),
        task=card.task,
        split=split,
        images=images,
        accuracy=correct / images,
        accuracy_interval=wilson_interval(correct, images),
        macro_f1=macro_f1(per_class),
        auc=outputs.auc,
        loss=outputs.loss,
        calibration_error=calibration_error(outputs, card.temperature),
        threshold=card.label_threshold if multi_label else None,
        per_class=per_class,
        confusion=[] if multi_label else outputs.confusion.tolist(),
        results=results(names, card.classes, outputs.truth, predicted, probabilities),
    )


def _labels(
    names: list[str], classes: tuple[str, ...], truth: Flags, predicted: Flags, rates: Floats
) -> list[ImageResult]:
    """Return the results of images of one class; `truth` and `predicted` are true in one place."""
    rows = zip(names, truth.argmax(axis=1), predicted.argmax(axis=1), rates, strict=True)
    return [
        ImageResult(
            file=name, label=classes[own], predicted=classes[said], probability=float(row[said])
        )
        for name, own, said, row in rows
    ]


def _label_sets(
    names: list[str], classes: tuple[str, ...], truth: Flags, predicted: Flags, rates: Floats
) -> list[ImageResult]:
    """Return the results of images of any number of classes."""
    results = []
    for name, own, said, row in zip(names, truth, predicted, rates, strict=True):
        best = [i for i in np.argsort(-row, kind="stable") if said[i]]
        results.append(
            ImageResult(
                file=name,
                labels=tuple(classes[i] for i in np.flatnonzero(own)),
                predicted_labels=tuple(classes[i] for i in best),
                probabilities=tuple(float(row[i]) for i in best),
            )
        )
    return results


def _draw_confusion(run: RunFolder, result: Evaluation, outputs: Outputs) -> None:
    from toolchain.metrics.confusion_plot import draw_confusion

    title = f"{result.split}, {result.images} images, {result.accuracy:.1%} right"
    classes = [row.label for row in result.per_class]
    draw_confusion(outputs.confusion, classes, title, run.confusion)


def _card_metrics(result: Evaluation) -> Metrics:
    return Metrics(
        split=result.split,
        images=result.images,
        accuracy=result.accuracy,
        accuracy_interval=result.accuracy_interval,
        macro_f1=result.macro_f1,
        auc=result.auc,
        calibration_error=result.calibration_error,
    )
