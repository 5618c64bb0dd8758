"""Read a weights file of any tool: what it is by its bytes, its content, or why it can't serve.

Nothing in a file is run: pickles are opened with torch's `weights_only`, and objects of packages
that it does not know are left out, not made.
"""

from __future__ import annotations

import re
import stat
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file

from toolchain.errors import TrainingError
from toolchain.files import A_URL, DOWNLOAD, as_url, display_path, is_folder, is_text, unicode_name
from toolchain.printable import shell_words
from toolchain.runtime.not_a_model import DELTA_STARTS

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
"""Of weights files; only the search in a folder goes by them, reading goes by content."""
ACCEPTED = (
    "--weights takes imagenet, none, a run folder, a .safetensors file, or a .pth or .ckpt file "
    "with a state dict"
)
HEAD_BYTES = 4096

FOREIGN_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the weights", "git lfs pull"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes them; rtl reads PyTorch's weights", ACCEPTED),
    (b"\x1f\x8b", "is a compressed archive", "unpack it first"),
    (b"BZh", "is a compressed archive", "unpack it first"),
    (b"\xfd7zXZ", "is a compressed archive", "unpack it first"),
    (b"7z\xbc\xaf", "is a compressed archive", "unpack it first"),
    (b"Rar!", "is a compressed archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is a compressed archive", "unpack it first"),
    (b"GGUF", "is a GGUF file of a language model, not weights of a ResNet", ACCEPTED),
)
"""First bytes of what is often given instead of weights: the bytes, what it is, what to do."""

UNIGNORABLE = frozenset(
    (
        *("builtins", "__builtin__", "os", "posix", "nt", "sys", "subprocess", "shutil", "runpy"),
        *("importlib", "ctypes", "socket", "pickle", "operator", "functools", "types", "code"),
        *("webbrowser", "multiprocessing", "pty", "platform", "tempfile"),
    )
)
"""Packages whose names in a pickle call functions: such a file is refused as a whole."""


class _Ignored:
    """Stands for an object of a package that is not needed to read tensors; it does nothing."""

    def __init__(self, *values: Any, **named: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def read_content(path: Path) -> Any:
    """Return what a weights file holds: tensors by name, often nested in dicts of other values.

    The tensors are on the CPU. Raises TrainingError where the file is missing, damaged, or
    something else than weights.
    """
    head, size = _beginning(path)
    try:
        if _is_safetensors(head, size):
            # By its bytes where its name is not UTF-8, which safetensors can't open.
            named = unicode_name(str(path)) == str(path)
            return load_file(path) if named else load(path.read_bytes())
        return _load_pickle(path, zipped=head.startswith(b"PK"))
    except TrainingError:
        raise
    except Exception as error:  # damage makes the parsers of both formats raise anything
        raise _damaged(path, error) from error


def require_weights_file(path: Path) -> None:
    """Raise TrainingError for a file that is missing or begins as no weights file does."""
    _beginning(path)


def _beginning(path: Path) -> tuple[bytes, int]:
    """Return the first bytes of a weights file and its size; TrainingError for another file."""
    if is_folder(path):
        raise TrainingError(f"{path} is a folder, not a weights file", hint=ACCEPTED)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe waits for somebody to write to it
            raise TrainingError(f"{path} is a pipe or device, not a weights file", hint=ACCEPTED)
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        size = status.st_size
    except FileNotFoundError as error:
        if url := as_url(path):
            raise TrainingError(f"{url}: {A_URL}", hint=DOWNLOAD) from error
        raise TrainingError(f"{path}: no such weights file", hint=ACCEPTED) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TrainingError(f"{path} can't be read: {reason.lower()}") from error
    _require_weights(path, head)
    return head, size


def _require_weights(path: Path, head: bytes) -> None:
    """Raise TrainingError for a file whose first bytes are not those of a weights file."""
    if not head:
        raise TrainingError(f"{path} is empty", hint="copy or download it again")
    for start, what, hint in FOREIGN_STARTS:
        if head.startswith(start):
            raise TrainingError(f"{path} {what}", hint=hint)
    if head.lstrip()[:1] == b"<":
        raise TrainingError(
            f"{path} is a web page, not weights", hint="download the file itself again"
        )
    if path.suffix == ".onnx" or (head[:1] == b"\x08" and head[2:3] == b"\x12"):
        raise _exported(path)
    if head[8:].startswith(DELTA_STARTS):
        raise TrainingError(
            f"{path} is a delta, what a training changed of other weights",
            hint="train from its run, --weights RUN, or export it: "
            + shell_words("rtl", "export", "BASE_RUN", "--delta", path),
        )
    known = head.startswith((b"PK", b"\x80")) or head[8:9] == b"{"
    if not known and is_text(head):
        line = head.decode("utf-8", "replace").splitlines()[0][:40]
        raise TrainingError(f"{path} is text, not weights: it begins {line!r}", hint=ACCEPTED)
    if not known or (path.suffix == ".safetensors" and head.startswith(b"PK\x05\x06")):
        raise TrainingError(f"{path} is not a weights file", hint=ACCEPTED)


def _is_safetensors(head: bytes, size: int) -> bool:
    """Return whether a file begins like safetensors: the length of its header, then JSON."""
    if len(head) < 9 or head[8:9] != b"{":
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return bool(length < size or not head.startswith(b"\x80"))


def _load_pickle(path: Path, *, zipped: bool) -> Any:
    """Return the content of a file that torch.save wrote."""
    ignored = _ignorable_names(path) if zipped else []
    allowed: list[Any] = [(_Ignored, name) for name in ignored]
    with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about formats of its own past
        return torch.load(path, map_location="cpu", weights_only=True)


def _ignorable_names(path: Path) -> list[str]:
    """Return the classes of other packages in torch's archive, which are left out.

    Raises TrainingError for an archive that is not torch's, a whole model, or one that runs code.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        declared = sum(info.file_size for info in archive.infolist())
    if any(n.endswith(("constants.pkl", "extra/rtl.card")) or "/code/" in n for n in names):
        raise _exported(path)
    if not any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        raise TrainingError(f"{path} is a zip archive, not weights", hint="unpack it first")
    if declared > 2 * path.stat().st_size:
        raise TrainingError(f"{path} is not a weights file: it declares {declared:,} bytes")
    unknown = list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    if running := [name for name in unknown if name.partition(".")[0] in UNIGNORABLE]:
        raise _runs_code(path, running[0])
    if any(name.startswith("torch.nn.modules.") for name in unknown):
        model = next((n for n in unknown if not n.startswith("torch.")), unknown[0])
        raise _whole_model(path, model)
    return unknown


def _damaged(path: Path, error: Exception) -> TrainingError:
    """Return the error for a file that a parser gave up on, without the parser's advice."""
    found = re.search(r"(?:GLOBAL|class|function) ([\w.]+\.\w+)", str(error))
    if found and "nsupported" in str(error):
        name = found.group(1)
        whole = not name.startswith(tuple(f"{package}." for package in UNIGNORABLE))
        return _whole_model(path, name) if whole else _runs_code(path, name)
    return TrainingError(
        f"{path} is damaged, truncated, or no weights file", hint="copy or download it again"
    )


def _whole_model(path: Path, name: str) -> TrainingError:
    return TrainingError(
        f"{path} holds a pickled object ({name}) instead of weights alone; opening it would run "
        "code, so rtl does not",
        hint="where it was made, write the weights alone: torch.save(model.state_dict(), FILE)",
    )


def _runs_code(path: Path, name: str) -> TrainingError:
    return TrainingError(
        f"{path} would run code when opened ({name}); it was not opened",
        hint="take weights from a source that you trust, best as .safetensors",
    )


def _exported(path: Path) -> TrainingError:
    """Return the error for an exported model; it names the run folder around the file."""
    run = path.absolute().parent.parent
    there = (run / "model.safetensors").is_file()
    return TrainingError(
        f"{path} is an exported model; rtl trains from weights, and in its own the batch norms are "
        "folded",
        hint=f"--weights {display_path(run)}" if there else "give the run folder: --weights RUN",
    )
