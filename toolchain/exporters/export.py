"""The story of `rtl export`: a run folder becomes model files, each proved before it exists."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from toolchain.backends.backend import Backend, open_backend
from toolchain.backends.outputs import pixels_of, run_in_batches
from toolchain.backends.torch_eager import EagerBackend
from toolchain.errors import DataError, ModelFileError, ParityError, RefusedError
from toolchain.exporters.precision.options import Reduction
from toolchain.exporters.variants import OPSETS, Variant
from toolchain.exporters.writers.onnx import write_onnx
from toolchain.exporters.writers.pt2 import write_program
from toolchain.exporters.writers.torchscript import write_torchscript
from toolchain.files import atomic_file, file_sha256, write_json
from toolchain.machine import installed_versions
from toolchain.networks.resnet import InferenceModel
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import (
    RunFolder,
    model_name,
    parity_file,
    references_file,
    rejected_file,
)
from toolchain.runs.sampling import evenly
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import Card, Format
from toolchain.runtime.selftest import generated_pixels, make_proof
from toolchain.runtime.session import import_onnxruntime
from toolchain.verification.comparison import compare_with_references
from toolchain.verification.references.stored_outputs import (
    MOST_IMAGE_BYTES,
    MOST_STORED_IMAGES,
    StoredOutputs,
    write_stored_outputs,
)
from toolchain.verification.references.trained_model import TrainedReference, open_trained_reference
from toolchain.verification.result import Verification, failed, require_parity

WRITERS: dict[Format, Callable[[InferenceModel, Card, Path], None]] = {
    "onnx": write_onnx,
    "torchscript": write_torchscript,
    "pt2": write_program,
}
MODEL_SUFFIXES = (".onnx", ".pt", ".pt2")


@dataclass(frozen=True)
class ExportedModel:
    """One model file that passed verification."""

    path: Path
    variant: Variant
    card: Card
    bytes: int
    verification: Verification
    seconds: float

    @property
    def record(self) -> dict[str, Any]:
        """The same for `--json` (docs/json.md)."""
        return {
            "file": str(self.path),
            "format": self.variant.format,
            "precision": self.variant.precision,
            "input": self.variant.input,
            "batch": self.variant.batch,
            "acceptance": self.card.acceptance,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "verification": self.verification,
        }


@dataclass(frozen=True)
class RejectedModel:
    """One model file that fell short or cost too much, and is not there."""

    path: Path
    error: ParityError | RefusedError

    @property
    def record(self) -> dict[str, Any]:
        """The same for `--json` (docs/json.md)."""
        return {"file": str(self.path), "error": str(self.error), "hint": self.error.hint}


def export(
    run_path: str | os.PathLike[str],
    wanted: Sequence[Variant] = (Variant(),),
    output: str | os.PathLike[str] | None = None,
    *,
    data: str | None = None,
    images: int = 400,
    image_size: int | None = None,
    reduction: Reduction | None = None,
    progress: ProgressReporter | None = None,
) -> Iterator[ExportedModel | RejectedModel]:
    """Export a run to each variant in turn; one that falls short does not stop the next.

    `output` is a folder, or for one variant a file; by default `export/` in the run folder. Up to
    `images` validation images are compared from their bytes; `data` says where they are if they
    were moved. `image_size` is the side in pixels that the network is to see, where it is not that
    of training. Raises DataError for a run or images that can't serve.
    """
    progress = progress or SilentReporter()
    run = TrainedRun.open(run_path, data=data)
    targets = [_target(run.folder, variant, wanted, output) for variant in wanted]
    trained = open_trained_reference(run, images=images, size=image_size)
    for variant, path in zip(wanted, targets, strict=True):
        try:
            yield _export(variant, trained, path, reduction or Reduction(), progress)
        except (ParityError, RefusedError) as error:
            yield RejectedModel(path, error)


def accepted_models(outcomes: Iterable[ExportedModel | RejectedModel]) -> list[ExportedModel]:
    """Return the files of an export, or raise what went wrong with the first that was not kept.

    Raises ParityError where a file does not answer like the trained model (its report stays as
    `…rejected.json`), RefusedError where a lower precision costs too much.
    """
    files = []
    for outcome in outcomes:
        if isinstance(outcome, RejectedModel):
            raise outcome.error
        files.append(outcome)
    return files


def _export(
    variant: Variant,
    trained: TrainedReference,
    path: Path,
    reduction: Reduction,
    progress: ProgressReporter,
) -> ExportedModel:
    """Write one file under a temporary name and let it stand where it passes."""
    started = time.monotonic()
    progress.message(f"exporting {path}")
    rejected_file(path).unlink(missing_ok=True)
    card = _card(trained.eager, variant)
    # Whatever a writer does to the network, the witness stays as it is.
    classifier = copy.deepcopy(trained.eager.classifier)
    inference_model = InferenceModel(classifier, card.temperature, card.task).eval()
    with atomic_file(path) as candidate:
        if variant.precision == "fp32":
            WRITERS[variant.format](inference_model, card, candidate)
        else:
            import_onnxruntime()  # its tools do it; TorchScript is exported without them
            from toolchain.exporters.precision.build import write_reduced

            write_reduced(inference_model, card, candidate, trained, reduction, progress)
        opened = _opened(candidate, path)
        references = _references(trained, opened)
        result = _verify(opened, candidate, path, references, trained, progress)
    write_stored_outputs(references, references_file(path))
    write_json(parity_file(path), result)
    seconds = time.monotonic() - started
    return ExportedModel(path, variant, opened.card, path.stat().st_size, result, seconds)


def _opened(candidate: Path, path: Path) -> Backend:
    """Open the candidate as its users will; one that can't be opened is reported and not kept."""
    try:
        return open_backend(candidate)
    except ModelFileError as error:
        message = str(error).replace(str(candidate), str(path))
        result = Verification(
            model=str(path),
            sha256=file_sha256(candidate),
            provider="cpu",
            passed=False,
            levels=(failed("numbers", "card", message),),
            versions=installed_versions(),
            seconds=0.0,
        )
        raise _reported(ParityError(message), result, path) from None


def _verify(
    opened: Backend,
    candidate: Path,
    path: Path,
    references: StoredOutputs,
    trained: TrainedReference,
    progress: ProgressReporter,
) -> Verification:
    """Verify the candidate as its users will open it; raising here leaves no model file."""
    result = compare_with_references(
        opened, candidate, stored=references, trained=trained, progress=progress
    )
    result = msgspec.structs.replace(result, model=str(path))
    try:
        require_parity(result)
    except ParityError as error:
        raise _reported(error, result, path) from None
    return result


def _reported(error: ParityError, result: Verification, path: Path) -> ParityError:
    """Leave the report of a file that is not kept, and give the error that says where it is."""
    write_json(rejected_file(path), result)
    see = f"see {rejected_file(path)}"
    return ParityError(
        f"{error}; the file was not kept", hint=f"{error.hint}; {see}" if error.hint else see
    )


def _target(
    run: RunFolder,
    variant: Variant,
    wanted: Sequence[Variant],
    output: str | os.PathLike[str] | None,
) -> Path:
    name = model_name(variant.format, variant.precision, variant.input)
    if output is None:
        return run.export / name
    path = Path(output)
    if path.suffix in MODEL_SUFFIXES and not path.is_dir():
        if len(wanted) > 1:
            raise DataError(f"{path} names one file, and {len(wanted)} were asked for")
        return path
    return path / name


def _card(eager: EagerBackend, variant: Variant) -> Card:
    """Complete the run's card with what belongs to this file."""
    _, logits = eager.run(generated_pixels(eager.card.preprocessing.size))
    lowest, ir_version = OPSETS[variant.opset] if variant.format == "onnx" else (None, None)
    return msgspec.structs.replace(
        eager.card,
        format=variant.format,
        precision=variant.precision,
        input=variant.input,
        batch=variant.batch,
        opset=variant.opset if variant.format == "onnx" else None,
        ir_version=ir_version,
        lowest_onnxruntime=lowest,
        proof=make_proof(logits),
        versions={**eager.card.versions, "exporter torch": str(torch.__version__)},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _references(trained: TrainedReference, opened: Backend) -> StoredOutputs:
    """Choose a few images; what is stored of a lower precision is what its own file says."""
    speaker = trained.eager if opened.card.precision == "fp32" else opened
    names = dict(zip(trained.paths, trained.names, strict=True))
    paths = evenly(trained.paths, MOST_STORED_IMAGES)
    pixels = np.stack([pixels_of(trained.eager.card, path, names[path]) for path in paths])
    probabilities, logits = run_in_batches(speaker, pixels)
    files = [
        path.read_bytes() if path.stat().st_size <= MOST_IMAGE_BYTES else b"" for path in paths
    ]
    classes = trained.eager.card.classes
    return StoredOutputs(
        classes, tuple(names[path] for path in paths), tuple(files), pixels, probabilities, logits
    )
