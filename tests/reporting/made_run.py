"""Run folders that nothing trained: their files are written, so that any content costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.data.audit_result import Audit
from toolchain.evaluation.evaluation_file import EvaluationFile
from toolchain.evaluation.image_results import ImageResult
from toolchain.evaluation.stored_logits import write_logits
from toolchain.files import encode_json, write_json, write_text
from toolchain.metrics.intervals import wilson_interval
from toolchain.metrics.per_class import class_metrics, macro_f1
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import resolve, settings_toml
from toolchain.runtime.card import Card, Normalisation, Preprocessing, Task, Weights

NORMALISATION = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CLASSES = ("ants", "bees", "wasps")
STUB = b"no weights: the report says that it has no activation maps"


def draw_photographs(data: Path, classes: tuple[str, ...], each: int) -> list[str]:
    """Write small noisy JPEGs, `each` of a class, and return their names under `data`."""
    rng, names = np.random.default_rng(0), []
    for number, _ in enumerate(classes):
        for index in range(each):
            colour = 60 + rng.integers(0, 160, 3)
            pixels = np.clip(colour + rng.normal(0, 25, (72, 96, 3)), 0, 255).astype(np.uint8)
            name = f"val/{number}/{index}.jpg"
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(data / name, quality=85)
            names.append(name)
    return names


def made_run(
    folder: Path,
    data: Path,
    classes: tuple[str, ...],
    names: list[str],
    *,
    task: Task = "single-label",
    accuracy: float = 0.8,
    seed: int = 0,
    evaluated: bool = True,
    settings: dict[str, Any] | None = None,
) -> RunFolder:
    """Write a run folder whose model answers about this share of the images right."""
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    chosen = FinetuneSettings(data=str(data), task=task, size=64, **(settings or {}))
    write_text(run.settings, settings_toml(resolve(chosen)))
    run.weights.write_bytes(STUB)
    run.write_card(_card(classes, task))
    write_json(run.audit, _audit(data, classes, len(names)))
    write_text(run.metrics, "".join(encode_json(row).decode() + "\n" for row in _epochs()))
    if evaluated:
        truth, logits = _outputs(len(classes), len(names), task, accuracy, seed)
        write_json(run.evaluation, _evaluation(data, classes, names, truth, logits, task))
        write_logits(run.logits, logits)
    return run


def _card(classes: tuple[str, ...], task: Task) -> Card:
    return Card(
        classes=classes,
        task=task,
        preprocessing=Preprocessing(size=64, resize_size=73),
        normalisation=NORMALISATION,
        temperature=1.4,
        architecture="resnet18",
        weights=Weights(origin="random weights", sha256="0" * 64),
        settings_sha256="1" * 64,
        data_sha256="2" * 64,
        versions={"rtl": "0.2.0", "torch": "2.13.0"},
        created="2026-01-01T00:00:00+00:00",
    )


def _audit(data: Path, classes: tuple[str, ...], images: int) -> Audit:
    return Audit(
        data=str(data),
        split_by="the folders train/, val/",
        images=images,
        per_class={
            name: {"train": 0, "val": images // len(classes), "test": 0} for name in classes
        },
        unreadable=(),
        duplicates=(("val/0/0.jpg", "val/0/1.jpg"),),
        leaks=(),
        label_conflicts=(),
        rotated_by_exif=1,
        small=2,
        rare_classes=(),
        fingerprint="2" * 64,
    )


def _epochs() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "epoch": number,
            "train_loss": 2.0 / number,
            "train_accuracy": 1 - 0.6 / number,
            "val_loss": 250.0 if number == 2 else 1.8 / number,
            "val_accuracy": 1 - 0.7 / number,
            "learning_rates": [1e-3, 1e-4],
            "trained_layers": 1 if number < 3 else 10,
            "seconds": 1.5,
        }
        for number in range(1, 7)
    ]
    finding = {"name": "over-fitting", "evidence": "val_loss rises", "remedy": "--dropout 0.5"}
    summary = {
        "epochs": 6, "best_epoch": 5, "epochs_as_good": 2, "val_images": 100, "val_loss": 0.3,
        "val_accuracy": 0.86, "val_macro_f1": 0.85, "val_auc": 0.9, "temperature": 1.4,
        "temperature_reason": None, "calibration_error": [0.1, 0.04], "findings": [finding],
    }  # fmt: skip
    return [*rows, {"summary": summary}]


def _outputs(
    classes: int, images: int, task: Task, accuracy: float, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return (truth bool, logits) of both [images, classes]."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) * classes // images
    truth = labels[:, None] == np.arange(classes)
    if task == "multi-label":
        truth |= np.random.default_rng(7).random(truth.shape) < 0.2
        sign = np.where(rng.random(truth.shape) < accuracy, 1, -1)
        size = np.abs(rng.normal(0, 2, truth.shape)) + 0.1
        return truth, (np.where(truth, 1, -1) * sign * size).astype(np.float32)
    logits = rng.normal(0, 1, truth.shape)
    wrong = rng.random(images) > accuracy
    answers = np.where(wrong, (labels + 1 + rng.integers(0, max(1, classes // 3), images)), labels)
    logits[np.arange(images), answers % classes] += 3 + rng.normal(0, 1, images)
    return truth, logits.astype(np.float32)


def _evaluation(
    data: Path,
    classes: tuple[str, ...],
    names: list[str],
    truth: NDArray[np.bool_],
    logits: NDArray[np.float32],
    task: Task,
) -> EvaluationFile:
    multi = task == "multi-label"
    predicted = logits > 0 if multi else logits.argmax(axis=1)[:, None] == np.arange(len(classes))
    right = int((truth == predicted).all(axis=1).sum())
    confusion = truth.T.astype(int) @ predicted.astype(int)
    return EvaluationFile(
        task=task,
        split="val",
        images=len(names),
        data=str(data),
        data_sha256="3" * 64,
        as_trained=True,
        weights_sha256="0" * 64,
        accuracy=right / len(names),
        accuracy_interval=wilson_interval(right, len(names)),
        macro_f1=macro_f1(truth, predicted),
        auc=0.9,
        loss=0.4,
        calibration_error=0.05,
        threshold=0.5 if multi else None,
        per_class=class_metrics(truth, predicted, classes),
        confusion=[] if multi else confusion.tolist(),
        results=[
            _result(name, classes, truth[i], predicted[i], logits[i] / 1.4, multi)
            for i, name in enumerate(names)
        ],
    )


def _result(
    name: str,
    classes: tuple[str, ...],
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    scaled: NDArray[np.float32],
    multi: bool,
) -> ImageResult:
    if multi:
        chosen = np.flatnonzero(predicted)
        probabilities = 1 / (1 + np.exp(-scaled))
        return ImageResult(
            file=name,
            labels=tuple(classes[k] for k in np.flatnonzero(truth)),
            predicted_labels=tuple(classes[k] for k in chosen),
            probabilities=tuple(float(probabilities[k]) for k in chosen),
        )
    powers = np.exp(scaled - scaled.max())
    answer = int(predicted.argmax())
    return ImageResult(
        file=name,
        label=classes[int(truth.argmax())],
        predicted=classes[answer],
        probability=float(powers[answer] / powers.sum()),
    )


def rewritten(run: RunFolder, **changes: Any) -> None:
    """Write a run's evaluation.json again with other values of some keys."""
    file = msgspec.json.decode(run.evaluation.read_bytes(), type=EvaluationFile)
    write_json(run.evaluation, msgspec.structs.replace(file, **changes))


def page_of(run: RunFolder) -> str:
    """Return the page of a run."""
    return run.report.read_text(encoding="utf-8")
