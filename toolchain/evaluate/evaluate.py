"""The story of `rtl evaluate`: a run folder answers how good it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from toolchain.data.audit import Audit
from toolchain.data.layouts import Dataset, read_dataset
from toolchain.errors import DataError
from toolchain.evaluate.intervals import wilson_interval
from toolchain.evaluate.metrics import ClassMetrics, class_metrics, macro_f1
from toolchain.narrator import Narrator, Silent, shown
from toolchain.runfolder import RunFolder, write_json
from toolchain.runtime.card import Metrics
from toolchain.training.settings import FinetuneSettings
from toolchain.training.settings_file import read_settings

if TYPE_CHECKING:
    from toolchain.training.loop import Outputs
    from toolchain.training.models import Classifier


class ImageResult(msgspec.Struct, frozen=True):
    """What the trained model said about one image; the device has to say the same."""

    file: str
    label: str
    predicted: str
    probability: float


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """How good a run is on one split; rates in 0…1. Described in docs/json.md."""

    version: int = 1
    run: str
    split: str
    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95 % Wilson interval."""
    macro_f1: float
    loss: float
    per_class: list[ClassMetrics]
    confusion: list[list[int]]
    """Images [true class][predicted class], classes in the order of `per_class`."""
    results: list[ImageResult]


def evaluate(
    run_path: str | os.PathLike[str],
    *,
    data: str | None = None,
    split: str = "auto",
    batch_size: int = 32,
    workers: int = -1,
    device: str = "auto",
    narrator: Narrator | None = None,
) -> Evaluation:
    """Evaluate the trained model on a split; `auto` takes test where there is one, else val.

    Leaves evaluation.json and confusion.png in the run folder and, for val and test, the metrics in
    its card. `data` replaces the data folder that the run remembers. Raises DataError.
    """
    from toolchain.training.loop import choose_device, predict_split
    from toolchain.training.pictures import draw_confusion
    from toolchain.training.samples import Views, make_loader

    narrator = narrator or Silent()
    run = RunFolder.open(run_path)
    settings = run_settings(run)
    card = run.read_card()
    dataset = run_dataset(run, settings, data)
    if split == "auto":
        split = "test" if dataset.test else "val"
    samples = dataset.split(split)
    if not samples:
        raise DataError(f"{dataset.root} has no {split} split", hint="--split val")

    narrator.say(f"evaluating {run.path} on {len(samples)} {split} images of {shown(dataset.root)}")
    unreadable = known_unreadable(run)
    good = [s for s in samples if dataset.name_of(s.path) not in unreadable]
    if not good:
        raise DataError(f"{dataset.root} has no readable image in its {split} split")
    views = Views(good, card.preprocessing)
    loader = make_loader(views, batch_size=batch_size, workers=workers, shuffle=False, seed=0)
    classifier = load_run_classifier(run).to(choose_device(device))
    outputs = predict_split(classifier, loader, narrator, label=f"evaluating {split}")

    names = [dataset.name_of(s.path) for s in good]
    result = _evaluation(run, split, dataset.classes, outputs, names, card.temperature)
    write_json(run.evaluation, result)
    title = f"{split}, {result.images} images, {result.accuracy:.1%} right"
    draw_confusion(outputs.confusion, dataset.classes, title, run.confusion)
    if split != "train" and data is None:
        # The card speaks of images that the model was not trained on, of the run's own data.
        run.write_card(msgspec.structs.replace(card, metrics=_card_metrics(result)))
    return result


def run_settings(run: RunFolder) -> FinetuneSettings:
    """Give the settings that a run was trained with."""
    return read_settings(run.settings, {})


def run_dataset(run: RunFolder, settings: FinetuneSettings, data: str | None = None) -> Dataset:
    """Give the data set of a run, with its classes; DataError where it moved or changed."""
    place = data or settings.data
    if not Path(place).exists():
        raise DataError(
            f"{place}: the data of {run.path} is no longer there", hint="say where with --data"
        )
    dataset = read_dataset(place)
    if dataset.classes != run.read_card().classes:
        raise DataError(f"{place}: its classes are not those that {run.path} was trained on")
    return dataset


def load_run_classifier(run: RunFolder) -> Classifier:
    """Give the trained classifier of a run, in eval mode, on the CPU."""
    from toolchain.training.models import load_classifier

    card = run.read_card()
    return load_classifier(card.architecture, len(card.classes), run.weights, card.normalisation)


def known_unreadable(run: RunFolder) -> set[str]:
    """Give the names of the files that training found unreadable and left out."""
    if not run.audit.is_file():
        return set()
    audit = msgspec.json.decode(run.audit.read_bytes(), type=Audit)
    return {item.file for item in audit.unreadable}


def _evaluation(
    run: RunFolder,
    split: str,
    classes: tuple[str, ...],
    outputs: Outputs,
    names: list[str],
    temperature: float,
) -> Evaluation:
    per_class = class_metrics(outputs.confusion, classes)
    correct, images = int(outputs.confusion.trace()), len(outputs.labels)
    probabilities = outputs.probabilities(temperature)
    return Evaluation(
        run=str(run.path),
        split=split,
        images=images,
        accuracy=correct / images,
        accuracy_interval=wilson_interval(correct, images),
        macro_f1=macro_f1(per_class),
        loss=outputs.loss,
        per_class=per_class,
        confusion=outputs.confusion.tolist(),
        results=[
            ImageResult(name, classes[label], classes[p.argmax()], float(p.max()))
            for name, label, p in zip(names, outputs.labels, probabilities, strict=True)
        ],
    )


def _card_metrics(result: Evaluation) -> Metrics:
    return Metrics(
        split=result.split,
        images=result.images,
        accuracy=result.accuracy,
        accuracy_interval=result.accuracy_interval,
        macro_f1=result.macro_f1,
    )
