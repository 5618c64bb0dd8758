"""Files of a lower precision: built, weighed against float32, kept only where accepted."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx

from toolchain.backends.outputs import pixels_of, run_in_batches
from toolchain.exporters.precision.acceptance import (
    AcceptanceCheck,
    harmless,
    require_accepted,
    speed_ratio,
)
from toolchain.exporters.precision.options import Calibration, Limits, Reduction
from toolchain.exporters.precision.quantise import Quantiser, most_harmful
from toolchain.exporters.writers.image_input import with_image_input
from toolchain.exporters.writers.onnx import build_onnx, finish
from toolchain.networks.resnet import InferenceModel
from toolchain.progress import ProgressReporter
from toolchain.runs.sampling import evenly
from toolchain.runtime.card import Acceptance, Card, Proof
from toolchain.runtime.model_inputs import ModelOutputs, Pixels
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import generated_pixels, make_proof
from toolchain.runtime.session import SHORT_NAMES, import_onnxruntime
from toolchain.verification.references.trained_model import TrainedReference

MOST_KEPT = 8
"""So many layers are left in float at most; beyond that there is little left to gain."""
SENSITIVITY_IMAGES = 32
PROOF_TOLERANCES = {"fp16": 5e-3, "int8": 5e-2}
"""How far the same file may be apart on two machines. Rounding at another place moves an int8 value
by a step, and the logits by about a hundredth."""


def write_reduced(
    inference_model: InferenceModel,
    card: Card,
    path: Path,
    trained: TrainedReference,
    reduction: Reduction,
    progress: ProgressReporter,
) -> None:
    """Write an fp16 or int8 file; RefusedError where it costs too much or gains nothing."""
    # What is measured is the network; the `image` door is put in front of what was accepted.
    door = card.input == "image"
    inner = msgspec.structs.replace(card, input="pixels", batch=1) if door else card
    with tempfile.TemporaryDirectory(prefix="rtl-precision-") as folder:
        bench = _Bench(Path(folder), inference_model, inner, trained, reduction.limits)
        if card.precision == "fp16":
            trial = _halved(inference_model, inner, bench)
        else:
            trial = _quantised(inner, bench, trained, reduction.calibration, progress)
        require_accepted(trial.found, card.precision)
        proof = bench.proof(trial.model)
    card = msgspec.structs.replace(
        card,
        acceptance=trial.found,
        metrics=None,  # they were measured in float32
        proof=msgspec.structs.replace(proof, tolerance=PROOF_TOLERANCES[card.precision]),
    )
    model = with_image_input(trial.model, card.preprocessing) if door else trial.model
    finish(model, card, path)


@dataclass(frozen=True, eq=False)
class _Trial:
    """A model of a lower precision, and what it costs."""

    model: onnx.ModelProto
    found: Acceptance
    near: bool
    """Its outputs are near enough to those of float32 to pass level "numbers"."""

    @property
    def good(self) -> bool:
        return self.near and harmless(self.found)


class _Bench:
    """The float32 file, opened, and the images on which others are compared with it."""

    def __init__(
        self,
        folder: Path,
        inference_model: InferenceModel,
        card: Card,
        trained: TrainedReference,
        limits: Limits,
    ) -> None:
        self.folder, self.card = folder, card
        self.float_model = build_onnx(
            inference_model, msgspec.structs.replace(card, precision="fp32")
        )
        self.before = self.opened(self.float_model)
        pixels = np.stack(
            [pixels_of(card, p, n) for p, n in zip(trained.paths, trained.names, strict=True)]
        )
        expected = run_in_batches(self.before, pixels)
        self.check = AcceptanceCheck(trained.names, pixels, trained.labels, expected, card, limits)

    def opened(self, model: onnx.ModelProto, provider: str = "cpu") -> Predictor:
        """Open a model that is not written yet, at one thread."""
        path = self.folder / "model.onnx"
        copied = onnx.ModelProto()
        copied.CopyFrom(model)
        finish(copied, msgspec.structs.replace(self.card, proof=None), path)
        return Predictor(path, provider=provider, threads=1, cache=False)

    def answers(
        self, model: onnx.ModelProto, pixels: Pixels, provider: str = "cpu"
    ) -> ModelOutputs:
        """Return a model's outputs."""
        return run_in_batches(self.opened(model, provider), pixels)

    def tried(self, model: onnx.ModelProto, provider: str = "cpu") -> _Trial:
        """Return what a model costs."""
        after = self.answers(model, self.check.pixels, provider)
        return _Trial(model, self.check.measure(after), self.check.near(after))

    def timed(self, trial: _Trial, provider: str) -> _Trial:
        """Add how much faster it is than float32, on one thread and one image."""
        before = self.before if provider == "cpu" else self.opened(self.float_model, provider)
        one = self.check.pixels[: self.card.batch or 1]
        ratio = speed_ratio(before, self.opened(trial.model, provider), one)
        found = msgspec.structs.replace(trial.found, speed_ratio=ratio, speed_provider=provider)
        return _Trial(trial.model, found, trial.near)

    def proof(self, model: onnx.ModelProto) -> Proof:
        """Return the logits of the generated inputs: of the file itself, which others must repeat."""
        _, logits = self.answers(model, generated_pixels(self.card.preprocessing.size))
        return make_proof(logits)


def _halved(inference_model: InferenceModel, card: Card, bench: _Bench) -> _Trial:
    """Return the model in float16; it is timed where a GPU is at hand, which it is for."""
    model = build_onnx(inference_model, card)
    gpu = SHORT_NAMES["cuda"] in import_onnxruntime().get_available_providers()
    return bench.timed(bench.tried(model, "cuda"), "cuda") if gpu else bench.tried(model)


def _quantised(
    card: Card,
    bench: _Bench,
    trained: TrainedReference,
    calibration: Calibration,
    progress: ProgressReporter,
) -> _Trial:
    """Return the model in int8, with as few layers in float as the limits need."""
    paths = evenly(trained.training_paths, calibration.images)
    training = np.stack([pixels_of(card, path, path.name) for path in paths])
    quantiser = Quantiser(bench.float_model, card, training, calibration.method)
    kept: tuple[str, ...] = ()
    trial = bench.tried(quantiser.quantised())
    if not trial.good:
        few = training[:: max(1, len(training) // SENSITIVITY_IMAGES)]  # they stand by class
        ranked = _ranked(quantiser, bench, few, progress)
        while not trial.good and len(kept) < min(MOST_KEPT, len(ranked) - 1):
            kept = tuple(ranked[: len(kept) + 1])
            trial = bench.tried(quantiser.quantised(kept))
    about = f"{calibration.method}, {len(paths)} images"
    found = msgspec.structs.replace(trial.found, calibration=about, kept_float=kept)
    return bench.timed(_Trial(trial.model, found, trial.near), "cpu")


def _ranked(
    quantiser: Quantiser, bench: _Bench, pixels: Pixels, progress: ProgressReporter
) -> list[str]:
    """Return the layers, those first that hurt the most on these pixels."""
    layers = list(quantiser.layers)
    return most_harmful(
        quantiser,
        lambda model: bench.answers(model, pixels),
        bench.card.task,
        progress.track(layers, "looking for the layers that hurt", len(layers)),
    )
