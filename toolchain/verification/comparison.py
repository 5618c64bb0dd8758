"""Compare an open model with every reference at hand, level by level.

The references are the card in the file, the outputs stored beside it, and the run with its trained
model and validation images; `toolchain.verification.references` has a file for each.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.backend import Backend
from toolchain.errors import ModelFileError, ParityError, ProviderError
from toolchain.files import file_sha256
from toolchain.machine import installed_versions
from toolchain.progress import ProgressReporter
from toolchain.runtime.selftest import generated_pixels
from toolchain.verification.references.card import card_levels
from toolchain.verification.references.run import run_levels
from toolchain.verification.references.stored import stored_levels
from toolchain.verification.references.stored_outputs import StoredOutputs
from toolchain.verification.references.trained_model import TrainedReference
from toolchain.verification.result import Level, Verification, failed


def compare_with_references(
    backend: Backend,
    path: Path,
    *,
    provider: str = "cpu",
    stored: StoredOutputs | None,
    trained: TrainedReference | None,
    progress: ProgressReporter,
) -> Verification:
    """Compare an open model with its own card and with the references that are given.

    `path` is the model's file, `provider` the one it was opened with. Raises ParityError where
    there is nothing to compare with; a comparison that fails is in the result.
    """
    started = time.monotonic()
    levels: list[Level] = []
    if backend.card.proof is not None:
        levels += _levels_against("card", backend, card_levels(backend, path, provider))
    if stored is not None:
        levels += _levels_against("references", backend, stored_levels(backend, stored))
    if trained is not None:
        levels += _levels_against("run", backend, run_levels(backend, path, trained, progress))
    if not levels:
        raise ParityError(
            f"nothing to verify {path} against: no proof in its card, no references, no run",
            hint="rtl verify MODEL --run RUN",
        )
    return Verification(
        model=str(path),
        sha256=file_sha256(path),
        provider=provider,
        passed=all(level.passed for level in levels),
        levels=tuple(levels),
        versions=installed_versions(),
        seconds=round(time.monotonic() - started, 3),
    )


def _levels_against(against: str, backend: Backend, levels: Iterator[Level]) -> Iterator[Level]:
    """Yield the levels of one reference, and a failed one where the model can't be computed."""
    try:
        yield from levels
    except (ModelFileError, ParityError) as error:
        yield failed("numbers", against, str(error), where=_wrong_batch(backend))
    except ProviderError as error:
        yield failed("sessions", against, str(error), where=f"the provider: {error}")


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
    except ModelFileError:
        return False
    return len(outputs.logits) == len(pixels)
