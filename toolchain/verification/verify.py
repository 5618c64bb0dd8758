"""`rtl verify`: compare a model file with the model it was made from, by every reference at hand.

Those are the card in the file, the outputs stored beside it, and the trained model with its
validation images, where the run folder and torch are at hand.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from toolchain.backends.backend import open_backend
from toolchain.backends.run_model import exported_file
from toolchain.errors import DataError, MissingExtraError, ParityError, SettingsError
from toolchain.files import file_sha256
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import RunFolder, parity_file, run_of_model
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import Adaptation, Card
from toolchain.runtime.modelfile import checked_digest
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.session import existing_model
from toolchain.runtime.stored_outputs import read_stored_outputs, references_file
from toolchain.verification.comparison import compare_with_references
from toolchain.verification.references.trained_model import (
    MOST_IMAGES,
    TrainedReference,
    open_trained_reference,
)
from toolchain.verification.result import Verification
from toolchain.verification.strictness import MAX_FLIPS


def verify(
    model: str | os.PathLike[str],
    *,
    run: str | os.PathLike[str] | None = None,
    data: str | None = None,
    provider: str = "cpu",
    threads: int | None = None,
    images: int = MOST_IMAGES,
    sha256: str | None = None,
    max_flips: float = MAX_FLIPS,
    progress: ProgressReporter | None = None,
) -> Verification:
    """Verify a model file by every reference at hand; for a run folder, the file exported from it.

    `run` names the run folder where the file was moved out of it, `data` the images where they were
    moved; a run folder around the file is not used where its images are gone, nor for a file that
    was adapted to another camera. At most `images` validation images are compared. `threads` are
    those of the session, by default all cores. `sha256` is the digest the file must have. In fp16
    and int8 files `max_flips` is the share of validation images that may have another label.

    Raises SettingsError for a digest that is none, ParityError for a file with another one,
    ModelFileError or ProviderError for a file that can't be opened, DataError for a run or
    data that were named and can't be used, and ParityError where there is no reference. A failed
    comparison is in the result; `require_parity` raises it.
    """
    progress = progress or SilentReporter()
    path = existing_model(exported_file(model))
    if path != Path(model):
        progress.message(f"verifying {path}")
    if sha256 is not None:
        require_digest(path, sha256)
    backend = open_backend(path, provider=provider, threads=threads)
    if isinstance(backend, Predictor) and backend.provider_choice is not None:
        progress.message(f"provider {backend.provider_choice}")
        provider = backend.provider
    folder = RunFolder.open(run) if run is not None else run_of_model(path)
    if (adapted := backend.card.adapted) is not None:
        _require_no_run(path, adapted, run, progress)
        folder = None
    trained = None
    if folder is not None and (run is not None or _has_torch()):
        try:
            trained = _trained_reference(folder, backend.card, data, images)
        except (DataError, MissingExtraError) as error:  # or a torch that can't be imported
            if run is not None or data is not None:
                raise
            progress.message(f"{error}; verifying without the run ({error.hint})")
    beside = references_file(path)
    stored = read_stored_outputs(beside) if beside.is_file() else None
    report = parity_file(path)
    return compare_with_references(
        backend,
        path,
        provider=provider,
        stored=stored,
        trained=trained,
        report=report if report.is_file() else None,
        max_flips=max_flips,
        progress=progress,
    )


def _trained_reference(
    folder: RunFolder, card: Card, data: str | None, images: int
) -> TrainedReference:
    """Return the trained model of a run and its images, at the size of a file with this card."""
    size = card.preprocessing.size if card.trained_size is not None else None
    return open_trained_reference(TrainedRun.open(folder.path, data=data), images=images, size=size)


def _require_no_run(
    path: Path,
    adapted: Adaptation,
    run: str | os.PathLike[str] | None,
    progress: ProgressReporter,
) -> None:
    """Say that an adapted file is not compared with its run; SettingsError where that was asked."""
    made = f"it was adapted to {adapted.target_images} photographs of another camera"
    source = f"the file with sha256 {adapted.from_sha256[:16]}…"
    if run is not None:
        raise SettingsError(
            f"{path} can't be compared with {run}: {made}, from {source}",
            hint="leave out --run, or verify the file that it was made from",
        )
    progress.message(f"{made}, from {source}; its last layer is not that of the run")


def require_digest(path: Path, sha256: str) -> None:
    """Raise ParityError for a file whose sha256 is not the one that was given, in hex."""
    try:
        wanted = checked_digest(sha256)
    except ValueError as error:
        raise SettingsError(str(error), hint="rtl inspect MODEL shows that of a file") from error
    found = file_sha256(path)
    if found != wanted:
        raise ParityError(
            f"{path} is not the file that was meant: its sha256 is {found}, expected {wanted}",
            hint="copy it again from where it was exported",
        )


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None
