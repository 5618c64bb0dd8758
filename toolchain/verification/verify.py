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
from toolchain.errors import DataError
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import RunFolder, references_file, run_of_model
from toolchain.runs.trained_run import TrainedRun
from toolchain.verification.comparison import compare_with_references
from toolchain.verification.references.stored_outputs import read_stored_outputs
from toolchain.verification.references.trained_model import MOST_IMAGES, open_trained_reference
from toolchain.verification.result import Verification


def verify(
    model: str | os.PathLike[str],
    *,
    run: str | os.PathLike[str] | None = None,
    data: str | None = None,
    provider: str = "cpu",
    threads: int | None = None,
    images: int = MOST_IMAGES,
    progress: ProgressReporter | None = None,
) -> Verification:
    """Verify a model file by every reference at hand; for a run folder, the file exported from it.

    `run` names the run folder where the file was moved out of it, `data` the images where they were
    moved; a run folder around the file is not used where its images are gone. At most `images`
    validation images are compared. `threads` are those of the session, by default all cores.

    Raises ModelFileError or ProviderError for a file that can't be opened, DataError for a run or
    data that were named and can't be used, and ParityError where there is no reference. A failed
    comparison is in the result; `require_parity` raises it.
    """
    progress = progress or SilentReporter()
    path = exported_file(model)
    if path != Path(model):
        progress.message(f"verifying {path}")
    backend = open_backend(path, provider=provider, threads=threads)
    folder = RunFolder.open(run) if run is not None else run_of_model(path)
    trained = None
    if folder is not None and (run is not None or _has_torch()):
        resized = backend.card.trained_size is not None
        size = backend.card.preprocessing.size if resized else None
        try:
            opened = TrainedRun.open(folder.path, data=data)
            trained = open_trained_reference(opened, images=images, size=size)
        except DataError as error:
            if run is not None or data is not None:
                raise
            progress.message(f"{error}; verifying without the run ({error.hint})")
    beside = references_file(path)
    stored = read_stored_outputs(beside) if beside.is_file() else None
    return compare_with_references(
        backend, path, provider=provider, stored=stored, trained=trained, progress=progress
    )


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None
