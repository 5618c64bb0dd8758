"""Exports the trained network in fp32 and fp16, and verifies each file on the provider."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path

from benchmarks.gpu.job import CannotRunError, Job, PartFailedError, Row, Rows
from benchmarks.gpu.log import MessageLog
from toolchain.exporters.outcome import ExportedModel
from toolchain.runtime.onnxruntime_import import import_onnxruntime
from toolchain.runtime.provider_names import SHORT_NAMES
from toolchain.verification.result import Level

PRECISIONS = ("fp32", "fp16")


def export_files(job: Job) -> Rows:
    """Export both precisions and yield a row for each; a refused fp16 file is written for timing.

    fp16 is compared with fp32 on the GPU where onnxruntime has the CUDA provider.
    """
    from toolchain.exporters.export import export
    from toolchain.exporters.variants import Variant

    run = job.finished_run()
    wanted = [Variant(), Variant(precision="fp16")]
    outcomes = export(run, wanted, images=job.images, progress=MessageLog())
    for variant, outcome in zip(wanted, outcomes, strict=True):
        if isinstance(outcome, ExportedModel):
            yield exported_row(outcome)
            continue
        path = job.refused_model(variant.precision)
        if variant.precision == "fp16":
            write_unverified(run, path)
        yield {
            "file": outcome.path.name,
            "precision": variant.precision,
            "refused": str(outcome.error),
            "bytes": path.stat().st_size if path.is_file() else None,
        }
        if variant.precision == "fp32":
            raise PartFailedError(str(outcome.error))


def exported_row(outcome: ExportedModel) -> Row:
    """Return the row of a file that was kept."""
    acceptance = outcome.card.acceptance
    row: Row = {
        "file": outcome.path.name,
        "precision": outcome.variant.precision,
        "refused": None,
        "bytes": outcome.bytes,
        "seconds": round(outcome.seconds, 2),
    }
    if acceptance is not None:
        row |= {
            "flips": acceptance.flips,
            "images": acceptance.images,
            "accuracy_before": acceptance.accuracy_before,
            "accuracy_after": acceptance.accuracy_after,
            "speed_ratio": acceptance.speed_ratio,
            "speed_provider": acceptance.speed_provider,
        }
    return row


def write_unverified(run: Path, path: Path) -> None:
    """Write the run's network in fp16, whatever it costs, to be timed and nothing else."""
    from toolchain.exporters.file_card import card_of
    from toolchain.exporters.variants import Variant
    from toolchain.exporters.writers.onnx import write_onnx
    from toolchain.networks.resnet import InferenceModel
    from toolchain.runs.trained_run import TrainedRun
    from toolchain.verification.references.trained_model import open_trained_reference

    eager = open_trained_reference(TrainedRun.open(run), images=1).eager
    card = card_of(eager, Variant(precision="fp16"))
    classifier = copy.deepcopy(eager.classifier)
    path.parent.mkdir(exist_ok=True)
    write_onnx(InferenceModel(classifier, card.temperature, card.task).eval(), card, path)


def verify_file(job: Job, *, precision: str) -> Rows:
    """Verify a file on the provider and yield a row for each level.

    That of level sessions has the nodes that the provider ran and whether TF32 was allowed.
    """
    from toolchain.verification.verify import verify

    require_provider(job.device)
    path = job.model(precision)
    if not path.is_file():
        raise CannotRunError(f"export has kept no {path.name}")
    result = verify(path, provider=job.device, images=job.images, progress=MessageLog())
    for level in result.levels:
        yield level_row(path.name, level)
    failed = [level for level in result.levels if not level.passed]
    if failed:
        first = failed[0]
        raise PartFailedError(
            f"{path.name}, {first.level} against the {first.against}: {first.summary}"
            + (f"; it begins at {first.where}" if first.where else "")
        )


def level_row(file: str, level: Level) -> Row:
    """Return the row of one level."""
    row: Row = {
        "file": file,
        "level": level.level,
        "against": level.against,
        "passed": level.passed,
        "summary": level.summary,
        "where": level.where,
    }
    for name in ("nodes", "registered", "use_tf32", "worst_session", "max_difference"):
        if name in level.figures:
            row[name] = level.figures[name]
    return row


def require_provider(device: str) -> None:
    """Raise CannotRunError where this onnxruntime has no provider for the device.

    torch is imported first where it can be, for the CUDA libraries; see `part.require_gpu`.
    """
    if device == "cuda":
        with contextlib.suppress(ImportError):
            import torch  # noqa: F401
    onnxruntime = import_onnxruntime()
    if SHORT_NAMES[device] not in onnxruntime.get_available_providers():
        raise CannotRunError(
            f"onnxruntime {onnxruntime.__version__} has no {SHORT_NAMES[device]}: hand over the "
            "wheel of onnxruntime-gpu (--wheels FOLDER)"
        )
