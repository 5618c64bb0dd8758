"""What was given for a model file and is none: a folder, a file of a run, another tool's weights.

Known by the first bytes, and by the run folder that the file lies in. Only read after opening has
failed, so that opening a model costs nothing more.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from toolchain.errors import ModelFileError, shortened
from toolchain.files import is_text

HEAD_BYTES = 512
PICKLE_START = b"\x80"
DELTA = "a delta (safetensors)"
DELTA_STARTS = tuple(b'{"__metadata__":{"%s":"{' % key for key in (b"rtl", b"card"))
"""The two texts that a delta has, in either order; weights that rtl writes have none."""


def folder_error(path: Path) -> ModelFileError:
    """Return the error for a folder; for that of a run it names the model file in it."""
    name = shortened(str(path))
    exported = path / "export" / "model.onnx"
    if exported.is_file():
        return ModelFileError(f"{name} is a run folder, not a model file", hint=f"open {exported}")
    if not (path / "card.json").is_file():
        return ModelFileError(
            f"{name} is a folder, not a model file", hint="give the model.onnx that rtl export made"
        )
    run = shlex.quote(str(path))
    return ModelFileError(
        f"{name} is a run folder, not a model file",
        hint=f"rtl export {run} --format onnx makes one; rtl predict {run} IMAGE needs none",
    )


def other_file_error(path: Path) -> ModelFileError | None:
    """Return the error for a file that is known to be something else; None for any other file."""
    kind = _kind_of(path)
    if kind is None or path.suffix == ".onnx":  # one by that name was meant to be one
        return None
    for folder in list(path.absolute().parents)[:2]:
        if (folder / "settings.toml").is_file() and (folder / "card.json").is_file():
            run = shlex.quote(str(_as_given(path, folder)))
            return ModelFileError(
                f"{shortened(str(path))} is {kind} in a run folder, not a model file",
                hint=f"give the run folder {run}, or what rtl export {run} makes of it",
            )
    if kind == DELTA:
        export = f"rtl export RUN --delta {shlex.quote(str(path))}"
        return ModelFileError(
            f"{shortened(str(path))} is {kind}, not a model file",
            hint=f"{export} makes one, where RUN is one that it is a difference to",
        )
    return ModelFileError(
        f"{shortened(str(path))} is {kind}, not a model file of rtl",
        hint="rtl export RUN makes a model file; rtl finetune --weights takes weights",
    )


def _as_given(path: Path, folder: Path) -> Path:
    """Return a folder above a path, written as the path is: relative where that is."""
    absolute = list(path.absolute().parents)
    above = list(path.parents)
    place = absolute.index(folder)
    return above[place] if place < len(above) else folder


def _kind_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    if len(head) > 9 and head[8:9] == b"{" and head[5:8] == b"\0\0\0":
        return DELTA if head[8:].startswith(DELTA_STARTS) else "the weights (safetensors)"
    if head.startswith(PICKLE_START):
        return "a pickle, as old versions of torch.save write"
    return "a text file" if is_text(head) else None
