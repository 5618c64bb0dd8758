"""The story of `rtl verify`: does this file still answer like the model it was made from?

Each witness at hand is heard: the card in the file and the references beside it (`witnesses.py`),
and in the workshop the run with its trained model and the user's images (`run_witness.py`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.backend import Backend, open_backend
from toolchain.errors import DataError, ModelFileError, ParityError, ProviderError
from toolchain.machine import installed_versions
from toolchain.progress import Narrator, Silent
from toolchain.runs.runfolder import RunFolder, references_file, run_of_model
from toolchain.runtime.selftest import generated_pixels
from toolchain.verification.references.run import run_levels
from toolchain.verification.references.stored import References, read_references
from toolchain.verification.references.trained_model import MOST_IMAGES, Workshop, open_workshop
from toolchain.verification.result import Level, Verification, failed
from toolchain.verification.witnesses import card_levels, reference_levels


def verify(
    model: str | os.PathLike[str],
    *,
    run: str | os.PathLike[str] | None = None,
    data: str | None = None,
    provider: str = "cpu",
    threads: int | None = None,
    images: int = MOST_IMAGES,
    narrator: Narrator | None = None,
) -> Verification:
    """Verify a model file with every witness at hand.

    `run` names the run folder where the file was moved out of it, `data` the images where they were
    moved; a run around the file that lacks its images is left out. Raises ModelFileError or
    ProviderError for a file that can't be opened, ParityError where no witness is at hand; a
    comparison that fails is in the result.
    """
    narrator = narrator or Silent()
    path = Path(model)
    backend = open_backend(path, provider=provider, threads=threads)
    folder = RunFolder.open(run) if run is not None else run_of_model(path)
    workshop = None
    if folder is not None and (run is not None or _has_torch()):
        resized = backend.card.trained_size is not None
        size = backend.card.preprocessing.size if resized else None
        try:
            workshop = open_workshop(folder, images=images, data=data, size=size)
        except DataError as error:
            if run is not None or data is not None:
                raise
            narrator.say(f"{error}; verifying without the run ({error.hint})")
    stored = references_file(path)
    references = read_references(stored) if stored.is_file() else None
    return verify_backend(
        backend,
        path,
        provider=provider,
        references=references,
        workshop=workshop,
        narrator=narrator,
    )


def verify_backend(
    backend: Backend,
    path: Path,
    *,
    provider: str = "cpu",
    references: References | None,
    workshop: Workshop | None,
    narrator: Narrator,
) -> Verification:
    """Compare an open model with the witnesses given, and with its own card."""
    started = time.monotonic()
    levels: list[Level] = []
    if backend.card.proof is not None:
        levels += _heard("card", backend, card_levels(backend, path, provider))
    if references is not None:
        levels += _heard("references", backend, reference_levels(backend, references))
    if workshop is not None:
        levels += _heard("run", backend, run_levels(backend, path, workshop, narrator))
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


def file_sha256(path: Path) -> str:
    """Give the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _heard(against: str, backend: Backend, said: Iterator[Level]) -> Iterator[Level]:
    """Give the levels of a witness; a model that can't compute fails, whatever the reason."""
    try:
        yield from said
    except (ModelFileError, ParityError) as error:
        yield failed("numbers", against, str(error), where=_wrong_batch(backend))
    except ProviderError as error:
        yield failed("sessions", against, str(error), where=f"the provider: {error}")


def _wrong_batch(backend: Backend) -> str | None:
    """Say that a file computes one image and not several, though its card allows any number."""
    if backend.card.batch is not None or backend.card.input == "image":
        return None
    pixels = generated_pixels(backend.card.preprocessing.size)
    if _computes(backend, pixels[:1]) and not _computes(backend, pixels):
        return f"the batch: it computes 1 image, not {len(pixels)}, and its card allows any number"
    return None


def _computes(backend: Backend, pixels: NDArray[np.uint8]) -> bool:
    try:
        _, logits = backend.run(pixels)
    except ModelFileError:
        return False
    return len(logits) == len(pixels)


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None
