"""Which model made a file of predictions: a small file beside it, so that `--resume` can tell.

The rows themselves can't tell once their images have been moved or removed.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from toolchain.errors import DataError
from toolchain.files import UNREADABLE, write_json
from toolchain.runtime.predictor import Predictor

SUFFIX = ".model.json"
"""Is added to the name of the file of predictions."""


class MadeBy(msgspec.Struct, frozen=True):
    """The model that made a file of predictions."""

    model_sha256: str
    version: int = 1


def model_of(predictor: Predictor) -> MadeBy:
    """Return what identifies a model: the digest of the bytes that were opened.

    For a run that torch computes it is that of the weights.
    """
    return MadeBy(predictor.digest)


def note_of(output: Path) -> Path:
    """Return the path of the note beside a file of predictions."""
    return output.with_name(output.name + SUFFIX)


def written_note(output: Path) -> MadeBy | None:
    """Return the model that is noted beside a file of predictions; None where nothing is."""
    try:
        return msgspec.json.decode(note_of(output).read_bytes(), type=MadeBy)
    except UNREADABLE:
        return None


def write_note(output: Path, model: MadeBy) -> None:
    """Note the model beside a file of predictions; where that is impossible, rows alone decide."""
    if written_note(output) != model:
        try:
            write_json(note_of(output), model)
        except OSError:
            return


def require_same_model(output: Path, model: MadeBy) -> None:
    """Raise DataError where the note beside a file of predictions names another model."""
    before = written_note(output)
    if before is not None and before.model_sha256 != model.model_sha256:
        raise DataError(
            f"{output} was not made by this model: sha256 {before.model_sha256[:16]}… there, "
            f"{model.model_sha256[:16]}… now",
            hint="choose another --output",
        )
