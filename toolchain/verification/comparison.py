"""Compare an open model with every reference at hand, level by level.

The references are the card in the file, the outputs stored beside it, and the run with its trained
model and validation images; `toolchain.verification.references` has a file for each.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.backend import Backend
from toolchain.errors import ParityError
from toolchain.files import file_sha256
from toolchain.machine import installed_versions
from toolchain.progress import ProgressReporter
from toolchain.runtime.provider_names import in_bfloat16
from toolchain.runtime.selftest import generated_pixels, same_file_tolerance
from toolchain.runtime.stored_outputs import StoredOutputs
from toolchain.verification.graph_precision import graph_precision
from toolchain.verification.levels.report import report_level
from toolchain.verification.references.card import card_levels
from toolchain.verification.references.own import own_levels
from toolchain.verification.references.run import run_levels
from toolchain.verification.references.stored import stored_levels
from toolchain.verification.references.trained_model import TrainedReference
from toolchain.verification.result import Verification, failed
from toolchain.verification.strictness import MAX_FLIPS, held_card, precision_level, rounded_card


def compare_with_references(
    backend: Backend,
    path: Path,
    *,
    provider: str = "cpu",
    stored: StoredOutputs | None,
    trained: TrainedReference | None,
    report: Path | None = None,
    max_flips: float = MAX_FLIPS,
    every_batch_size: bool = True,
    progress: ProgressReporter,
) -> Verification:
    """Compare an open model with itself, its own card and the references that are given.

    `path` is the model's file, `provider` the one it was opened with, `report` the report of its
    export. `max_flips` is the largest share of the validation images that may have another label in
    fp16 and int8; `every_batch_size` is that of `batch_level`.

    Raises ParityError where there is nothing to compare with; a comparison that fails is in the
    result.
    """
    started = time.monotonic()
    digest = file_sha256(path)
    precision = graph_precision(path, backend.card.format)
    held = held_card(backend.card, precision, max_flips)
    tie_tolerance = same_file_tolerance(held)
    if in_bfloat16(provider):
        held = rounded_card(held, max_flips)

    def where() -> str | None:
        return _wrong_batch(backend)

    levels = [level] if (level := precision_level(backend.card, precision)) else []
    if report is not None:
        levels.append(report_level(report, digest))
    compared = list(levels)
    if held.proof is not None:
        levels += card_levels(backend, held, path, provider, where)
    if stored is not None:
        levels += stored_levels(backend, held, path, stored, tie_tolerance)
    if trained is not None:
        levels += run_levels(backend, held, path, trained, progress, where)
    if len(levels) == len(compared):
        raise ParityError(
            f"nothing to verify {path} against: no proof in its card, no references, no run",
            hint="rtl verify MODEL --run RUN",
        )
    levels += own_levels(backend, held, path, where, every_batch_size=every_batch_size)
    if file_sha256(path) != digest:
        levels.append(failed("card", "report", f"{path} was changed while it was verified"))
    return Verification(
        model=str(path),
        sha256=digest,
        provider=provider,
        passed=all(level.passed for level in levels),
        levels=tuple(levels),
        versions=installed_versions(),
        seconds=round(time.monotonic() - started, 3),
    )


def _wrong_batch(backend: Backend) -> str | None:
    """Describe a file that computes one image and not several, though its card allows any."""
    if backend.card.batch is not None or backend.card.input == "image":
        return None
    pixels = generated_pixels(backend.card.preprocessing.size)
    if _computes(backend, pixels[:1]) and not _computes(backend, pixels):
        return f"the batch: it computes 1 image, not {len(pixels)}, and its card allows any number"
    return None


def _computes(backend: Backend, pixels: NDArray[np.uint8]) -> bool:
    try:
        outputs = backend.run(pixels)
    except Exception:  # whatever the content of a file makes a library raise
        return False
    return len(outputs.logits) == len(pixels)
