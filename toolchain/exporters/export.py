"""`rtl export`: a run folder becomes model files, each verified before it gets its name."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from toolchain.adaptation.source_features import features_file
from toolchain.errors import ParityError, RefusedError
from toolchain.exporters.candidate import open_candidate, verify_candidate
from toolchain.exporters.destination import destinations
from toolchain.exporters.export_result import ExportResult
from toolchain.exporters.file_card import card_of
from toolchain.exporters.outcome import ExportedModel, RejectedModel
from toolchain.exporters.precision.options import Reduction
from toolchain.exporters.reference_outputs import outputs_to_store
from toolchain.exporters.training_features import TrainingFeatures
from toolchain.exporters.variants import Variant
from toolchain.exporters.writers.onnx import write_onnx
from toolchain.exporters.writers.pt2 import write_program
from toolchain.exporters.writers.torchscript import write_torchscript
from toolchain.files import atomic_file, write_json
from toolchain.networks.resnet import InferenceModel
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.delta_run import open_run
from toolchain.runs.runfolder import parity_file, rejected_file
from toolchain.runtime.card import Card, Format
from toolchain.runtime.onnxruntime_import import import_onnxruntime
from toolchain.runtime.stored_outputs import references_file, write_stored_outputs
from toolchain.verification.references.trained_model import TrainedReference, open_trained_reference

WRITERS: dict[Format, Callable[[InferenceModel, Card, Path], None]] = {
    "onnx": write_onnx,
    "torchscript": write_torchscript,
    "pt2": write_program,
}
"""What writes each format in fp32; lower precisions have a room of their own."""


def export(
    run_path: str | os.PathLike[str],
    wanted: Sequence[Variant] = (Variant(),),
    output: str | os.PathLike[str] | None = None,
    *,
    delta: str | os.PathLike[str] | None = None,
    data: str | None = None,
    images: int = 400,
    image_size: int | None = None,
    reduction: Reduction | None = None,
    progress: ProgressReporter | None = None,
) -> Iterator[ExportedModel | RejectedModel]:
    """Export a run to each variant in turn; one that is not kept does not stop the next.

    `output` is a folder, or for one variant a file; by default `export/` in the run folder. With
    `delta` the exported model is the run's with that delta, beside which `export/` is then, and in
    it a folder for each delta that is not called delta.safetensors. Up to `images` validation
    images are compared from their bytes; `data` is their folder, where they were moved.
    `image_size` is the side in pixels of the network's input, where it is not that of training.
    `reduction` holds the limits and the calibration of fp16 and int8.

    Raises DataError for a folder that is no run, or images that are not where they were.
    """
    progress = progress or SilentReporter()
    run = open_run(run_path, delta, data=data)
    other_size = image_size if image_size != run.card.preprocessing.size else None
    paths = destinations(run.exports, wanted, output, other_size)
    trained = open_trained_reference(run, images=images, size=image_size)
    features = TrainingFeatures(trained, progress)
    for variant, path in zip(wanted, paths, strict=True):
        try:
            yield _export_variant(
                variant, trained, features, path, reduction or Reduction(), progress
            )
        except (ParityError, RefusedError) as error:
            yield RejectedModel(path, error)


def accepted(outcomes: Iterable[ExportedModel | RejectedModel]) -> ExportResult:
    """Return all outcomes; where a file was not kept, raise its error with them as its `result`.

    Raises ParityError where a file does not answer like the trained model (its report stays as
    `….rejected.json`), RefusedError where a lower precision costs too much or gains nothing.
    """
    result = ExportResult(list(outcomes))
    if failure := result.error:
        failure.result = result
        raise failure
    return result


def accepted_models(outcomes: Iterable[ExportedModel | RejectedModel]) -> list[ExportedModel]:
    """Return the files of an export, all of which were kept; raises as `accepted` does."""
    return accepted(outcomes).kept


def _export_variant(
    variant: Variant,
    trained: TrainedReference,
    features: TrainingFeatures,
    path: Path,
    reduction: Reduction,
    progress: ProgressReporter,
) -> ExportedModel:
    """Write one file under a temporary name; it is renamed to `path` if it passes verification."""
    started = time.monotonic()
    progress.message(f"exporting {path}")
    rejected_file(path).unlink(missing_ok=True)
    card = card_of(trained.eager, variant)
    with atomic_file(path) as candidate:
        _write(card, candidate, trained, reduction, progress)
        opened = open_candidate(candidate, path)
        references = outputs_to_store(trained, opened)
        result = verify_candidate(opened, candidate, path, references, trained, progress)
        # Before the file is renamed: where the disk is full, the file that was there stays with its
        # own references and report.
        features.write(candidate, opened.card, features_file(path))
        write_stored_outputs(references, references_file(path))
        write_json(parity_file(path), result)
    seconds = time.monotonic() - started
    return ExportedModel(path, variant, opened.card, path.stat().st_size, result, seconds)


def _write(
    card: Card,
    path: Path,
    trained: TrainedReference,
    reduction: Reduction,
    progress: ProgressReporter,
) -> None:
    """Write the trained model to `path`, in the format and precision of its card."""
    # A copy, as the trained model is what the file is compared with, whatever a writer changes.
    classifier = copy.deepcopy(trained.eager.classifier)
    inference_model = InferenceModel(classifier, card.temperature, card.task).eval()
    if card.precision == "fp32":
        assert card.format is not None
        WRITERS[card.format](inference_model, card, path)
        return
    import_onnxruntime()  # here, because TorchScript and pt2 files are exported without it
    from toolchain.exporters.precision.build import write_reduced

    write_reduced(inference_model, card, path, trained, reduction, progress)
