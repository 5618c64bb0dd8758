"""A model file under its temporary name: opened and verified as its users will, or rejected.

A rejected file leaves its report, `….rejected.json`, and nothing else.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from toolchain.backends.backend import Backend, open_backend
from toolchain.errors import ModelFileError, ParityError
from toolchain.files import file_sha256, write_json
from toolchain.machine import installed_versions
from toolchain.progress import ProgressReporter
from toolchain.runs.runfolder import rejected_file
from toolchain.runtime.stored_outputs import StoredOutputs
from toolchain.verification.comparison import compare_with_references
from toolchain.verification.references.trained_model import TrainedReference
from toolchain.verification.result import Verification, failed, require_parity
from toolchain.verification.strictness import MAX_FLIPS


def open_candidate(candidate: Path, path: Path) -> Backend:
    """Open the file that is to become `path`; ParityError where it can't be opened."""
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
        raise _rejected(ParityError(message), result, path) from None


def verify_candidate(
    opened: Backend,
    candidate: Path,
    path: Path,
    references: StoredOutputs,
    trained: TrainedReference,
    progress: ProgressReporter,
) -> Verification:
    """Compare the file that is to become `path` with its references and the trained model.

    Raises ParityError where a level fails.
    """
    accepted = opened.card.acceptance  # its limits were given to this export
    result = compare_with_references(
        opened,
        candidate,
        stored=references,
        trained=trained,
        max_flips=accepted.max_flips if accepted else MAX_FLIPS,
        every_batch_size=False,
        progress=progress,
    )
    result = msgspec.structs.replace(result, model=str(path))
    try:
        require_parity(result)
    except ParityError as error:
        raise _rejected(error, result, path) from None
    return result


def _rejected(error: ParityError, result: Verification, path: Path) -> ParityError:
    """Write the report of a file that is not kept; return the error with the report's path."""
    write_json(rejected_file(path), result)
    see = f"see {rejected_file(path)}"
    return ParityError(
        f"{error}; the file was not kept", hint=f"{error.hint}; {see}" if error.hint else see
    )
