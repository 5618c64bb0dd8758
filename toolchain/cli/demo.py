"""`rtl demo`: the whole way once, from drawn images to a label, on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolchain.cli import tables, terminal
from toolchain.cli.options import quiet_option, traceback_option
from toolchain.errors import TrainingError
from toolchain.files import display_path, write_json
from toolchain.progress import ProgressReporter
from toolchain.runs.runfolder import RunFolder, free_run_path

if TYPE_CHECKING:
    from toolchain.benchmarking.bench import Benchmark
    from toolchain.evaluation.evaluate import Evaluation
    from toolchain.exporters.export import ExportedModel
    from toolchain.training.finetune import FinetuneResult

ARCH = "resnet18"
# From scratch a small input is enough for parts that fill the picture, and it is quick to train.
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


@click.command()
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("rtl-demo"),
    show_default=True,
    help="Folder for the images and the runs.",
)
@click.option("--weights", help="Weights to start from, instead of torchvision's ImageNet weights.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed.")
@quiet_option
@traceback_option
def command(output: Path, weights: str | None, seed: int, quiet: bool) -> None:
    """Draw a data set, fine-tune, evaluate, export, verify, bench and predict, in a few minutes.

    The images show machined metal parts in six classes; two files are broken on purpose. Everything
    is made under --output; a second run draws nothing again and makes another run folder.

    \b
    rtl demo
    rtl demo --weights resnet18.safetensors
    """
    demo = _Demo(output, terminal.progress_reporter(quiet))
    demo.walk(weights, seed)
    demo.show()
    run = demo.run.path
    terminal.print_next("rtl", "predict", demo.model, demo.data / "crack", quiet=quiet)
    terminal.print_next("rtl", "inspect", demo.model, quiet=quiet)
    terminal.print_next("rtl", "finetune", "YOUR_IMAGES", "-o", run.parent / "mine", quiet=quiet)


class _Demo:
    """The steps, their results in a line each, and their times."""

    def __init__(self, output: Path, progress: ProgressReporter) -> None:
        self.data = output / "parts"
        self.run = RunFolder(free_run_path(output, "run"))
        self.model = self.run.model_file("onnx")
        self.progress = progress
        self.rows: list[tuple[str, str, float]] = []

    def walk(self, weights: str | None, seed: int) -> None:
        """Go the whole way, in the order a user would."""
        from toolchain.evaluation.evaluate import evaluate
        from toolchain.exporters.export import accepted_models, export
        from toolchain.exporters.variants import Variant
        from toolchain.runs.settings_file import read_settings
        from toolchain.training.finetune import finetune

        with self._step("data"):
            drawn = self._draw(seed)
        with self._step("finetune"):
            settings = read_settings(
                None, {"data": str(self.data), "arch": ARCH, "seed": seed, **self._start(weights)}
            )
            trained = finetune(settings, self.run.path, progress=self.progress)
        with self._step("evaluate"):
            evaluation = evaluate(self.run.path, progress=self.progress)
        with self._step("export"):
            exported = accepted_models(
                export(
                    self.run.path, [Variant("onnx"), Variant("torchscript")], progress=self.progress
                )
            )
        with self._step("verify"):
            verified = self._verify()
        with self._step("bench"):
            measured = self._bench()
        with self._step("predict"):
            predicted = self._predict(evaluation)
        words = [
            f"{drawn}; {_audit_words(trained)}",
            _training_words(trained),
            _evaluation_words(evaluation),
            _export_words(exported),
            verified,
            _bench_words(measured),
            predicted,
        ]
        self.rows = [(n, text, s) for (n, _, s), text in zip(self.rows, words, strict=True)]

    def show(self) -> None:
        """Print the one table and where everything is."""
        table = tables.new_table("step", "result", "s", numbers=("s",))
        for name, result, seconds in self.rows:
            table.add_row(name, result, f"{seconds:.0f}")
        total = sum(seconds for *_, seconds in self.rows)
        made = [
            ("images", f"{self.data}/"),
            ("run", f"{self.run.path}/  (settings, metrics, curves.png, confusion.png)"),
            ("model", str(self.model)),
            ("", str(self.run.model_file("torchscript"))),
            ("benchmark", str(self.run.bench_result("cpu"))),
            ("time", f"{total:.0f} s"),
        ]
        tables.show(table, tables.facts(made))

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self.progress.message(f"── {name} ".ljust(40, "─"))
        started = time.monotonic()
        yield
        self.rows.append((name, "", time.monotonic() - started))

    def _draw(self, seed: int) -> str:
        from toolchain.data.layouts import images_under
        from toolchain.demo.parts import draw_parts

        if self.data.is_dir():
            self.progress.message(f"{self.data} is there already and is used again")
        else:
            self.progress.message(f"drawing machined parts into {self.data}")
            draw_parts(self.data, seed=seed, progress=self.progress)
        return f"{len(images_under(self.data))} images"

    def _start(self, weights: str | None) -> dict[str, Any]:
        """Take the weights given, else torchvision's, else none, and say which."""
        from toolchain.networks.imagenet import imagenet_state, place_for

        if weights == "none":
            return SCRATCH
        if weights is not None:
            return {"weights": weights, **PRETRAINED}
        try:
            imagenet_state(ARCH, self.progress)
        except TrainingError as error:
            place = place_for(ARCH)
            self.progress.message(
                f"{error}.\nSo this demo trains from scratch, at {SCRATCH['size']} pixels.\n"
                f"To start from weights: rtl demo --weights FILE, or put {place.name} into "
                f"{display_path(place.parent)}."
            )
            return SCRATCH
        return {"weights": "imagenet", **PRETRAINED}

    def _verify(self) -> str:
        from toolchain.verification.result import require_parity
        from toolchain.verification.verify import verify

        result = verify(self.model, progress=self.progress)
        require_parity(result)
        figures = {(level.level, level.against): level.figures for level in result.levels}
        labels = figures["decisions", "run"]
        return (
            f"{len(result.levels)} of {len(result.levels)} levels passed: outputs within "
            f"{figures['numbers', 'run']['max_difference']:.0e} of torch, {labels['flips']} of "
            f"{labels['images']} labels differ"
        )

    def _bench(self) -> Benchmark:
        from toolchain.benchmarking.bench import bench

        result = bench([self.run.path], batch_sizes=(1, 8), seconds=2.0, progress=self.progress)
        write_json(self.run.bench_result("cpu"), result)
        tables.show_result(result)
        return result

    def _predict(self, evaluation: Evaluation) -> str:
        from toolchain.runtime.predictor import Predictor

        chosen = next(r for r in evaluation.results if r.label == "crack")
        prediction = Predictor(self.model)(self.data / chosen.file)
        return (
            f"{chosen.file} → {prediction.label} ({tables.percent(prediction.probability)}), "
            f"as in the evaluation: {'yes' if prediction.label == chosen.predicted else 'NO'}"
        )


def _audit_words(trained: FinetuneResult) -> str:
    return f"left out {len(trained.audit.unreadable)} unreadable"


def _training_words(trained: FinetuneResult) -> str:
    return (
        f"{ARCH}: {tables.percent(trained.summary.val_accuracy)} on validation, "
        f"epoch {trained.summary.best_epoch} of {trained.summary.epochs}"
    )


def _evaluation_words(evaluation: Evaluation) -> str:
    low, high = evaluation.accuracy_interval
    return (
        f"{tables.percent(evaluation.accuracy)} of {evaluation.images} {evaluation.split} images "
        f"(95 % interval {tables.percent(low)} to {tables.percent(high)})"
    )


def _export_words(exported: list[ExportedModel]) -> str:
    return ", ".join(f"{item.variant.format} {tables.megabytes(item.bytes)}" for item in exported)


def _bench_words(measured: Benchmark) -> str:
    rows = [row for row in measured.results if row.batch_size == 1]
    return "batch 1, median: " + ", ".join(f"{row.target} {row.p50_ms:.1f} ms" for row in rows)
