"""`rtl demo`: every step once, from drawn images to a label, on this machine."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.benchmarking.bench import bench
from toolchain.benchmarking.result import Benchmark
from toolchain.data.walk import images_under
from toolchain.demo.parts import draw_parts
from toolchain.display import megabytes, percent
from toolchain.errors import TrainingError
from toolchain.evaluation.evaluate import Evaluation, evaluate
from toolchain.exporters.export import accepted_models, export
from toolchain.exporters.outcome import ExportedModel
from toolchain.exporters.variants import Variant
from toolchain.files import display_path, write_json
from toolchain.networks.imagenet import cached_weights, imagenet_state
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.reporting.report import report
from toolchain.runs.runfolder import RunFolder, free_run_path
from toolchain.runs.settings_file import read_settings
from toolchain.runtime.predictor import Predictor
from toolchain.training.finetune import finetune
from toolchain.training.finetune_result import FinetuneResult
from toolchain.verification.result import Verification, require_parity
from toolchain.verification.verify import verify

ARCH = "resnet18"
SCRATCH: dict[str, Any] = {
    "weights": "none",
    "strategy": "full",
    "size": 64,
    "epochs": 13,
    "optimizer": "adamw",
    "lr_head": 2e-3,
    "lr_backbone": 2e-3,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "warmup_epochs": 2,
    "augment": "turns",
}
"""Settings of a run from random weights. The parts fill the image, so a small input, which trains
quickly, is enough."""
PRETRAINED: dict[str, Any] = {
    "strategy": "head",
    "size": 128,
    "epochs": 14,
    "batch_size": 16,
    "lr_head": 2e-2,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "augment": "turns",
}
"""Settings of a run that starts from ImageNet weights, but for the weights."""


@dataclass(frozen=True)
class DemoStep:
    """One step that is done."""

    name: str
    result: str
    """In one line, for a person."""
    seconds: float
    benchmark: Benchmark | None = None
    """What the step `bench` measured."""


class Demo:
    """The steps of `rtl demo`, and where their files are.

    The images lie in `output`/parts, where they are used again by the next demo; each demo has a
    run folder of its own in `output`.
    """

    def __init__(self, output: Path, *, progress: ProgressReporter | None = None) -> None:
        self.data = output / "parts"
        self.run = RunFolder(free_run_path(output, "run"))
        self.model = self.run.model_file("onnx")
        self.progress = progress or SilentReporter()
        self._step, self._started = "", 0.0

    def steps(self, *, weights: str | None = None, seed: int = 0) -> Iterator[DemoStep]:
        """Run all steps in the order of a user, and yield each when it is done.

        `weights` are those to start from: a file, "none" for random ones, or None for
        torchvision's ImageNet weights, in whose absence training starts from random weights.
        Raises what the steps raise.
        """
        self._begin("data")
        data = self._done(f"{self._draw(seed)} images")

        self._begin("finetune")
        start = {"data": str(self.data), "arch": ARCH, "seed": seed, **self._start_from(weights)}
        trained = finetune(read_settings(None, start), self.run.path, progress=self.progress)
        finetuned = self._done(_training_line(trained))
        left_out = f"left out {len(trained.audit.unreadable)} unreadable"  # known since training
        yield dataclasses.replace(data, result=f"{data.result}; {left_out}")
        yield finetuned

        self._begin("evaluate")
        evaluation = evaluate(self.run.path, progress=self.progress)
        yield self._done(_evaluation_line(evaluation))

        self._begin("export")
        wanted = [Variant("onnx"), Variant("torchscript")]
        exported = accepted_models(export(self.run.path, wanted, progress=self.progress))
        yield self._done(_export_line(exported))

        self._begin("verify")
        verified = verify(self.model, progress=self.progress)
        require_parity(verified)
        yield self._done(_verification_line(verified))

        self._begin("bench")
        measured = bench(
            [self.run.path], batch_sizes=(1, 8), seconds=2.0, retries=0, progress=self.progress
        )
        write_json(self.run.bench_result("cpu"), measured)
        yield self._done(_benchmark_line(measured), measured)

        self._begin("predict")
        yield self._done(self._predict(evaluation))

        self._begin("report")
        written = report([self.run.path], progress=self.progress)
        yield self._done(f"{megabytes(written.bytes)}, {written.pictures} pictures")

    def _begin(self, step: str) -> None:
        """Announce a step and note when it began."""
        self.progress.message(f"── {step} ".ljust(40, "─"))
        self._step, self._started = step, time.monotonic()

    def _done(self, result: str, benchmark: Benchmark | None = None) -> DemoStep:
        """Return the step that was begun last, with its result and time."""
        return DemoStep(self._step, result, time.monotonic() - self._started, benchmark)

    def _draw(self, seed: int) -> int:
        """Draw the images where there are none yet; return how many there are."""
        if self.data.is_dir():
            self.progress.message(f"{self.data} is there already and is used again")
        else:
            self.progress.message(f"drawing machined parts into {self.data}")
            draw_parts(self.data, seed=seed, progress=self.progress)
        return len(list(images_under(self.data)))

    def _start_from(self, weights: str | None) -> dict[str, Any]:
        """Return settings for the weights given, else for torchvision's, else for none."""
        if weights == "none":
            return SCRATCH
        if weights is not None:
            return {"weights": weights, **PRETRAINED}
        try:
            imagenet_state(ARCH, self.progress)
        except TrainingError as error:
            place = cached_weights(ARCH)
            self.progress.message(
                f"{error}.\nSo this demo trains from scratch, at {SCRATCH['size']} pixels.\n"
                f"To start from weights: rtl demo --weights FILE, or put {place.name} into "
                f"{display_path(place.parent)}."
            )
            return SCRATCH
        return {"weights": "imagenet", **PRETRAINED}

    def _predict(self, evaluation: Evaluation) -> str:
        """Predict an evaluated image from its file, and compare the label with the evaluation's."""
        chosen = next(r for r in evaluation.results if r.label == "crack")
        prediction = Predictor(self.model)(self.data / chosen.file)
        return (
            f"{chosen.file} → {prediction.label} ({percent(prediction.probability)}), "
            f"as in the evaluation: {'yes' if prediction.label == chosen.predicted else 'NO'}"
        )


def _training_line(trained: FinetuneResult) -> str:
    return (
        f"{ARCH}: {percent(trained.summary.val_accuracy)} on validation, "
        f"epoch {trained.summary.best_epoch} of {trained.summary.epochs}"
    )


def _evaluation_line(evaluation: Evaluation) -> str:
    low, high = evaluation.accuracy_interval
    return (
        f"{percent(evaluation.accuracy)} of {evaluation.images} {evaluation.split} images "
        f"(95 % interval {percent(low)} to {percent(high)})"
    )


def _export_line(exported: list[ExportedModel]) -> str:
    return ", ".join(f"{item.variant.format} {megabytes(item.bytes)}" for item in exported)


def _verification_line(verified: Verification) -> str:
    figures = {(level.level, level.against): level.figures for level in verified.levels}
    labels = figures["decisions", "run"]
    return (
        f"{len(verified.levels)} of {len(verified.levels)} levels passed: outputs within "
        f"{figures['numbers', 'run']['max_difference']:.0e} of torch, {labels['flips']} of "
        f"{labels['images']} labels differ"
    )


def _benchmark_line(measured: Benchmark) -> str:
    rows = [row for row in measured.results if row.batch_size == 1]
    return "batch 1, median: " + ", ".join(f"{row.target} {row.p50_ms:.1f} ms" for row in rows)
