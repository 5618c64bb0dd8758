"""The part about training: the curves, the best epoch, and what was found in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from toolchain.display import counted, percent
from toolchain.reporting.charts.svg import Drawing
from toolchain.reporting.charts.training import (
    accuracy_chart,
    loss_chart,
    rates_chart,
    stage_starts,
)
from toolchain.reporting.parts.choice import Choice, choices
from toolchain.reporting.reading.sources import RunFiles
from toolchain.runs.settings import FinetuneSettings

STRATEGIES = {
    "head": "only the classifier was trained, the backbone stayed as it was",
    "partial": "the later layers were trained too",
    "full": "all layers were trained",
    "two-stage": "first the classifier, then the later layers too",
    "bn": "the batch norms of the later layers and the classifier were trained",
    "lora": "low-rank differences of the later layers and the classifier were trained",
    "progressive": "from the classifier on, more layers every few epochs",
}


@dataclass(frozen=True)
class Training:
    """The part about training."""

    charts: list[tuple[str, Drawing]]
    stages: bool
    """Whether more layers were trained from some epoch on."""
    facts: list[tuple[str, str]]
    findings: list[tuple[str, str, str]]
    """(name, evidence, remedy)."""
    diagnosed: bool
    """Whether the run has a diagnosis at all."""
    aligned: bool
    """Whether it was trained for another camera, of which the curves show nothing."""
    choices: list[Choice]
    """What was chosen before the training, and why."""


def training(files: RunFiles) -> Training | None:
    """Return the part; None where the run has no metrics.jsonl."""
    if not files.epochs:
        return None
    summary = files.summary or {}
    best = best_epoch(files)
    charts = [
        ("Loss", loss_chart(files.epochs, best)),
        ("Accuracy", accuracy_chart(files.epochs, best)),
    ]
    rates = rates_chart(files.epochs, best)
    charts += [] if rates is None else [("Learning rate", rates)]
    findings = [
        (str(f.get("name", "")), str(f.get("evidence", "")), str(f.get("remedy", "")))
        for f in summary.get("findings") or ()
        if isinstance(f, dict)
    ]
    return Training(
        charts=charts,
        stages=any(True for _ in stage_starts(files.epochs)),
        facts=_facts(files, best),
        findings=findings,
        diagnosed="findings" in summary,
        aligned=files.for_other_camera,
        choices=choices(files.selection),
    )


def best_epoch(files: RunFiles) -> int:
    """Return the best epoch of the summary; of a run without one, that of the best accuracy."""
    best = (files.summary or {}).get("best_epoch")
    if isinstance(best, int):
        return best
    row = max(files.epochs, key=lambda row: row.get("val_accuracy") or 0.0)
    return int(row["epoch"])


def _facts(files: RunFiles, best: int) -> list[tuple[str, str]]:
    settings, summary = files.settings, files.summary or {}
    seconds = sum(float(row.get("seconds") or 0.0) for row in files.epochs)
    epochs = counted(len(files.epochs), "epoch")
    facts = [
        (
            "kept epoch" if files.for_other_camera else "best epoch",
            _best_words(summary, best, len(files.epochs)),
        ),
        ("strategy", _strategy_words(settings)),
        ("optimiser", _optimiser_words(settings)),
        ("augmentation", _augmentation_words(settings)),
        ("time of the epochs", f"{seconds:.0f} s for {epochs}"),
    ]
    error = summary.get("calibration_error")
    if isinstance(error, list) and len(error) == 2:
        words = summary.get("temperature_reason")
        text = (
            f"{summary.get('temperature', 1):.2f}: error {percent(error[0])} → {percent(error[1])}"
        )
        facts.append(("temperature", f"none: {words}" if words else text))
    return facts


def _strategy_words(settings: FinetuneSettings) -> str:
    meaning = STRATEGIES.get(settings.strategy)
    return f"{settings.strategy}: {meaning}" if meaning else settings.strategy


def _best_words(summary: dict[str, Any], best: int, epochs: int) -> str:
    others = int(summary.get("epochs_as_good") or 1) - 1
    images = summary.get("val_images")
    same = f"; {images} images can't tell it from {others} of the others" if others > 0 else ""
    return f"{best} of {epochs}{same}"


def _optimiser_words(settings: FinetuneSettings) -> str:
    rates = f"rate {settings.lr_head:g} for the classifier"
    if settings.strategy != "head":
        rates += f", {settings.lr_backbone:g} for the backbone"
    return f"{settings.optimizer}, {rates}, schedule {settings.schedule}"


def _augmentation_words(settings: FinetuneSettings) -> str:
    mixed = [
        f"{name} {value:g}"
        for name, value in (("MixUp", settings.mixup), ("CutMix", settings.cutmix))
        if value
    ]
    return ", ".join([settings.augment, *mixed])
