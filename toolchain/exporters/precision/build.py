"""fp16 and int8 files: built, compared with float32, and written only where they are accepted."""

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
    require_accepted,
    speed_ratio,
    within_limits,
)
from toolchain.exporters.precision.options import Calibration, Limits, Reduction
from toolchain.exporters.precision.quantise import Quantiser, most_harmful
from toolchain.exporters.precision.temperature import own_temperature, with_temperature
from toolchain.exporters.writers.image_input import with_image_input
from toolchain.exporters.writers.onnx import build_onnx, finish
from toolchain.networks.resnet import InferenceModel
from toolchain.progress import ProgressReporter
from toolchain.runs.sampling import evenly
from toolchain.runtime.card import Acceptance, Card, Proof
from toolchain.runtime.model_inputs import ModelOutputs, Pixels
from toolchain.runtime.onnxruntime_import import import_onnxruntime
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.provider_names import SHORT_NAMES
from toolchain.runtime.selftest import INPUTS, make_proof, proof_pixels
from toolchain.verification.references.trained_model import TrainedReference

MOST_FLOAT_LAYERS = 8
"""An int8 file leaves at most this many layers in float; with more there is little to gain."""
SENSITIVITY_IMAGES = 32
"""About this many calibration images are used to find the layers that lose most by quantisation."""


def write_reduced(
    inference_model: InferenceModel,
    card: Card,
    path: Path,
    trained: TrainedReference,
    reduction: Reduction,
    progress: ProgressReporter,
) -> None:
    """Write an fp16 or int8 file; RefusedError where it costs too much or gains nothing."""
    # The network is measured on pixels; for `image`, resize and crop are put in front of it later.
    takes_image = card.input == "image"
    measured = msgspec.structs.replace(card, input="pixels", batch=1) if takes_image else card
    with tempfile.TemporaryDirectory(prefix="rtl-precision-") as folder:
        baseline = FloatBaseline(Path(folder), inference_model, measured, trained, reduction.limits)
        if card.precision == "fp16":
            candidate = _in_float16(inference_model, measured, baseline)
        else:
            candidate = _in_int8(measured, baseline, trained, reduction.calibration, progress)
        require_accepted(candidate.acceptance, card.precision)
        temperature, model = baseline.calibrated(candidate.model)
        proof = baseline.proof(model)
    card = msgspec.structs.replace(
        card,
        temperature=temperature,
        acceptance=candidate.acceptance,
        metrics=None,  # they were measured in float32
        proof=proof,
    )
    finish(with_image_input(model, card.preprocessing) if takes_image else model, card, path)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model of a lower precision, and what it costs."""

    model: onnx.ModelProto
    acceptance: Acceptance
    within_tolerance: bool
    """Whether its outputs are close enough to those of float32 to pass level "numbers"."""

    @property
    def acceptable(self) -> bool:
        """Whether outputs, accuracy and labels are within their limits; speed is measured later."""
        return self.within_tolerance and within_limits(self.acceptance)

    def with_acceptance(self, **changes: object) -> Candidate:
        """Return the same model, with more known about it."""
        acceptance = msgspec.structs.replace(self.acceptance, **changes)
        return Candidate(self.model, acceptance, self.within_tolerance)


class FloatBaseline:
    """The float32 model in onnxruntime, and the images on which candidates are compared with it."""

    def __init__(
        self,
        folder: Path,
        inference_model: InferenceModel,
        card: Card,
        trained: TrainedReference,
        limits: Limits,
    ) -> None:
        self.folder, self.card = folder, card
        self.model = build_onnx(inference_model, msgspec.structs.replace(card, precision="fp32"))
        self.predictor = self.open(self.model)
        pixels = np.stack(
            [pixels_of(card, p, n) for p, n in zip(trained.paths, trained.names, strict=True)]
        )
        expected = run_in_batches(self.predictor, pixels)
        self.check = AcceptanceCheck(trained.names, pixels, trained.labels, expected, card, limits)

    def open(self, model: onnx.ModelProto, provider: str = "cpu") -> Predictor:
        """Open a model that is not exported yet, from a temporary file, on one thread."""
        path = self.folder / "model.onnx"
        copied = onnx.ModelProto()
        copied.CopyFrom(model)
        finish(copied, msgspec.structs.replace(self.card, proof=None), path)
        return Predictor(path, provider=provider, threads=1, cache=False)

    def outputs_of(
        self, model: onnx.ModelProto, pixels: Pixels, provider: str = "cpu"
    ) -> ModelOutputs:
        """Return a model's outputs for a batch of pixels of any size."""
        return run_in_batches(self.open(model, provider), pixels)

    def measure(self, model: onnx.ModelProto, provider: str = "cpu") -> Candidate:
        """Return a model with what it costs in accuracy and labels; its speed is not measured."""
        after = self.outputs_of(model, self.check.pixels, provider)
        return Candidate(model, self.check.measure(after), self.check.within_tolerance(after))

    def with_speed(self, candidate: Candidate, provider: str) -> Candidate:
        """Add how many times as fast as float32 it is, for one image on one thread."""
        before = self.predictor if provider == "cpu" else self.open(self.model, provider)
        pixels = self.check.pixels[: self.card.batch or 1]
        ratio = speed_ratio(before, self.open(candidate.model, provider), pixels)
        return candidate.with_acceptance(speed_ratio=ratio, speed_provider=provider)

    def calibrated(self, model: onnx.ModelProto) -> tuple[float, onnx.ModelProto]:
        """Return a temperature and the model with it: an int8 file's own, where that helps."""
        runs = self.card.temperature
        if self.card.precision != "int8":
            return runs, model
        logits = self.outputs_of(model, self.check.pixels).logits
        own = own_temperature(logits, self.check.labels, self.card)
        return own, (model if own == runs else with_temperature(model, own))

    def proof(self, model: onnx.ModelProto) -> Proof:
        """Return the model's own logits of generated inputs, which other machines must repeat."""
        _, logits = self.outputs_of(model, proof_pixels(self.card.preprocessing.size))
        return make_proof(logits[:INPUTS], logits[INPUTS:], precision=self.card.precision)


def _in_float16(inference_model: InferenceModel, card: Card, baseline: FloatBaseline) -> Candidate:
    """Return the model in float16, which is for GPUs; its speed is measured only where one is."""
    model = build_onnx(inference_model, card)
    if SHORT_NAMES["cuda"] in import_onnxruntime().get_available_providers():
        return baseline.with_speed(baseline.measure(model, "cuda"), "cuda")
    return baseline.measure(model)


def _in_int8(
    card: Card,
    baseline: FloatBaseline,
    trained: TrainedReference,
    calibration: Calibration,
    progress: ProgressReporter,
) -> Candidate:
    """Return the model in int8, with as few layers in float as the limits require."""
    paths = evenly(trained.training_paths, calibration.images)
    pixels = np.stack([pixels_of(card, path, path.name) for path in paths])
    quantiser = Quantiser(baseline.model, card, pixels, calibration.method)
    kept_float: tuple[str, ...] = ()
    candidate = baseline.measure(quantiser.quantised())
    if not candidate.acceptable:
        # Images are sorted by class, so every n-th of them covers all classes.
        few = pixels[:: max(1, len(pixels) // SENSITIVITY_IMAGES)]
        ranked = _most_harmful_first(quantiser, baseline, few, progress)
        most = min(MOST_FLOAT_LAYERS, len(ranked) - 1)
        while not candidate.acceptable and len(kept_float) < most:
            kept_float = tuple(ranked[: len(kept_float) + 1])
            candidate = baseline.measure(quantiser.quantised(kept_float))
    candidate = candidate.with_acceptance(
        calibration=f"{calibration.method}, {len(paths)} images", kept_float=kept_float
    )
    return baseline.with_speed(candidate, "cpu")


def _most_harmful_first(
    quantiser: Quantiser, baseline: FloatBaseline, pixels: Pixels, progress: ProgressReporter
) -> list[str]:
    """Return the layers, sorted by how much quantising them changes the logits of these pixels."""
    layers = list(quantiser.layers)
    return most_harmful(
        quantiser,
        lambda model: baseline.outputs_of(model, pixels),
        baseline.card.task,
        progress.track(layers, "finding the layers that lose most", len(layers)),
    )
