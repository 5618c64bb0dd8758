"""`rtl evaluate`: compute the metrics of a trained model on a split of its data."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.data.evaluation_set import ALL
from toolchain.display import Block, Displayed, Facts, Line, Picture, Table, percent
from toolchain.errors import MissingExtraError
from toolchain.evaluation.evaluation_file import EvaluationFile
from toolchain.evaluation.image_results import ImageResult, wrong_results, wrong_table
from toolchain.evaluation.images import EvaluatedImages, camera_note, images_to_evaluate
from toolchain.evaluation.stored_logits import write_logits
from toolchain.extras import missing_extra
from toolchain.files import display_path, write_json
from toolchain.metrics.intervals import wilson_interval
from toolchain.metrics.per_class import ClassMetrics, Flags, class_metrics, macro_f1
from toolchain.metrics.wording import accuracy_qualifier
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import Metrics

if TYPE_CHECKING:
    from toolchain.metrics.outputs import Outputs

Floats = NDArray[np.float32]


class Evaluation(Displayed, EvaluationFile, frozen=True, kw_only=True):
    """Metrics of a run on one split, as evaluation.json has them."""

    saved: bool = True
    """Whether the result is in the run folder."""

    @property
    def wrong(self) -> list[ImageResult]:
        """The images that were labelled wrong, the surest first."""
        return wrong_results(self.results)

    def blocks(self) -> list[Block]:
        """Return a row for each class, the figures, the wrong images, and the confusion matrix."""
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
        if wrong := self.wrong:
            blocks += [Line(), wrong_table(wrong)]
        if self.task == "single-label" and self.saved:
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
    """Evaluate the trained model of a run folder on a split; `auto` is test if present, else val.

    Writes evaluation.json and, for single-label, confusion.png into the run folder and, for val and
    test of the run's own data, unchanged since training, the metrics into its card. `data` are
    images in another place: all of a folder without training images, but for those that the run was
    trained on. `workers` is the number of processes that decode, -1 one for each core. Where the
    run folder can't be written the result is returned with `saved` false.

    Raises DataError where the run, its data or the split can't be used.
    """
    from toolchain.networks.device import choose_device
    from toolchain.training.inputs.samples import clean_source
    from toolchain.training.loop import predict_split
    from toolchain.training.machine_failures import machine_failures

    progress = progress or SilentReporter()
    run = TrainedRun.open(run_path, data=data)
    card = run.card
    images = images_to_evaluate(run, split)
    kind = "images" if images.split == ALL else f"{images.split} images"
    place = display_path(images.dataset.root)
    progress.message(f"evaluating {run.folder.path} on {len(images.samples)} {kind} of {place}")
    for line in (*images.notes, camera_note(run, images)):
        if line:
            progress.message(line)
    source = clean_source(
        images.samples,
        len(card.classes),
        card.preprocessing,
        batch_size=batch_size,
        workers=workers,
        report=progress.message,
    )
    torch_device = choose_device(device)
    classifier = run.classifier.to(torch_device)
    label = f"evaluating {images.split}"
    with machine_failures(advice=False):
        outputs = predict_split(classifier, source, torch_device, progress, label=label)
    result = _evaluation(run, images, outputs)
    return _save(run, images, result, outputs, progress)


def _save(
    run: TrainedRun,
    images: EvaluatedImages,
    result: Evaluation,
    outputs: Outputs,
    progress: ProgressReporter,
) -> Evaluation:
    """Leave the result in the run folder; where that fails it is said, and the result returned."""
    own = run.data is None and images.split != "train" and images.as_trained is not False
    replaces = run.folder.confusion.exists()
    try:
        write_json(run.folder.evaluation, result)
        write_logits(run.folder.logits, outputs.logits)
        drawn = not outputs.multi_label and _is_drawn(run.folder, result, outputs, progress)
        progress.message(_written(run.folder, images.split, drawn, replaces))
        if own:
            # The card has metrics of the run's own data that the model was not trained on.
            card = msgspec.structs.replace(run.card, metrics=_card_metrics(result))
            run.folder.write_card(card)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        progress.message(f"warning: the result is not kept in {run.folder.path}: {reason}")
        return msgspec.structs.replace(result, saved=False)
    return result


def _class_table(per_class: list[ClassMetrics]) -> Table:
    numbers = ("images", "precision", "recall", "F1")
    # What has no image can't be measured; 0.0 % would say that all went wrong.
    rows = [
        (
            row.label,
            str(row.images),
            *(percent(r) if row.images else "–" for r in (row.precision, row.recall, row.f1)),
        )
        for row in per_class
    ]
    return Table(("class", *numbers), rows, right=numbers)


def _evaluation(run: TrainedRun, images: EvaluatedImages, outputs: Outputs) -> Evaluation:
    from toolchain.metrics.calibration import calibration_error

    card, names = run.card, images.names
    probabilities = outputs.probabilities(card.temperature)
    multi_label = outputs.multi_label
    # Multi-label: with the threshold of the card, as the predictor decides on a device.
    predicted = probabilities >= card.label_threshold if multi_label else outputs.predicted
    correct = int((predicted == outputs.truth).all(axis=1).sum())
    image_results = _multi_label_results if multi_label else _single_label_results
    return Evaluation(
        run=str(run.folder.path),
        task=card.task,
        split=images.split,
        images=len(names),
        data=str(images.dataset.root),
        data_sha256=images.fingerprint,
        as_trained=images.as_trained,
        weights_sha256=run.weights_sha256,
        accuracy=correct / len(names),
        accuracy_interval=wilson_interval(correct, len(names)),
        macro_f1=macro_f1(outputs.truth, predicted),
        auc=outputs.auc,
        loss=outputs.loss,
        calibration_error=calibration_error(outputs, card.temperature),
        threshold=card.label_threshold if multi_label else None,
        per_class=class_metrics(outputs.truth, predicted, card.classes),
        confusion=[] if multi_label else outputs.confusion.tolist(),
        results=image_results(names, card.classes, outputs.truth, predicted, probabilities),
    )


def _single_label_results(
    names: list[str],
    classes: tuple[str, ...],
    truth: Flags,
    predicted: Flags,
    probabilities: Floats,
) -> list[ImageResult]:
    true_classes, predicted_classes = truth.argmax(axis=1), predicted.argmax(axis=1)
    images = zip(names, true_classes, predicted_classes, probabilities, strict=True)
    return [
        ImageResult(
            file=name,
            label=classes[true_class],
            predicted=classes[predicted_class],
            probability=float(row[predicted_class]),
        )
        for name, true_class, predicted_class, row in images
    ]


def _multi_label_results(
    names: list[str],
    classes: tuple[str, ...],
    truth: Flags,
    predicted: Flags,
    probabilities: Floats,
) -> list[ImageResult]:
    results = []
    images = zip(names, truth, predicted, probabilities, strict=True)
    for name, true_classes, predicted_classes, row in images:
        by_probability = np.argsort(-row, kind="stable")
        chosen = [index for index in by_probability if predicted_classes[index]]
        results.append(
            ImageResult(
                file=name,
                labels=tuple(classes[index] for index in np.flatnonzero(true_classes)),
                predicted_labels=tuple(classes[index] for index in chosen),
                probabilities=tuple(float(row[index]) for index in chosen),
            )
        )
    return results


def _is_drawn(folder: RunFolder, result: Evaluation, of: Outputs, report: ProgressReporter) -> bool:
    """Draw the confusion matrix; where its package can't be imported, say so and return False."""
    try:
        _draw_confusion(folder, result, of)
    except (ImportError, MissingExtraError) as error:
        reason = error if isinstance(error, MissingExtraError) else missing_extra(error) or error
        report.message(f"warning: {folder.confusion} is not drawn: {reason}")
        return False
    return True


def _written(folder: RunFolder, split: str, drawn: bool, replaces: bool) -> str:
    """Return the line about the files that were written, and the one that was replaced."""
    if not drawn:
        return f"wrote {folder.evaluation}"
    before = ", in place of the one before" if replaces else ""
    return f"wrote {folder.evaluation} and confusion.png (now of {split}{before})"


def _draw_confusion(folder: RunFolder, result: Evaluation, outputs: Outputs) -> None:
    from toolchain.metrics.confusion_plot import draw_confusion

    title = f"{result.split}, {result.images} images, {result.accuracy:.1%} right"
    classes = [row.label for row in result.per_class]
    draw_confusion(outputs.confusion, classes, title, folder.confusion)


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
