"""The folder of the model cache: how entries are written, checked for damage and removed.

    <cache>/engines/<key>/model.onnx     the optimised graph
                         /weights.bin    its weights, in the layout that the kernels use
                         /entry.json     the key, and the checksums of both files
                   /digests/<name>.json  the sha256 of model files (`digests.py`)
   /choices/<key>.json   the engines that `provider="auto"` chose (`engines/kept.py`)

An entry is made in a temporary folder and renamed, so it is never visible in part.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import msgspec
import numpy as np

from toolchain.files import UNREADABLE, encode_json
from toolchain.runtime.cachefolder import (
    CacheEntry,
    PrivateFolder,
    Removed,
    by_last_use,
    cache_folder,
    entry_bytes,
    last_used,
    record_bytes,
    remove_all,
    remove_longest_unused,
)

SCHEMA = 2
"""Part of each key, so that entries of another number are not used. Raise it when what an entry
holds changes, or how it is made from the model file (session options, graph rewrites)."""
MOST_BYTES = 2 * 1024**3
"""What all entries together may take."""
MOST_NOTES = 1000
LEFTOVER_AGE_S = 3600.0
"""Temporary folders older than this were left by a process that was killed."""
GRAPH, WEIGHTS, RECORD = "model.onnx", "weights.bin", "entry.json"
NOTES, CHOICES = "digests", "choices"
"""Folders of small files beside the entries."""
MAKING, GOING = ".making-", ".going-"
"""Prefixes of temporary folders: an entry that is being made, and one that is being removed."""


class EngineKey(msgspec.Struct, frozen=True):
    """Everything that the content of an entry depends on."""

    model_sha256: str
    onnxruntime: str
    """Its version."""
    processor: str
    schema: int
    """The SCHEMA of the rtl that made the entry."""


class Record(msgspec.Struct, frozen=True):
    """The content of `entry.json`."""

    key: EngineKey
    model: str
    """The path of the model file that the entry was made from; shown by `rtl cache`."""
    sums: dict[str, tuple[int, int]]
    """File → (bytes, sum of its 8-byte words modulo 2^64)."""


class _ModelPath(msgspec.Struct):
    """The part of a record that is shown, which records of every schema have."""

    model: str


class KeptModel(CacheEntry, frozen=True, kw_only=True):
    """An entry and the space that it takes."""

    model: str
    """The path of its model file; empty where the record can't be read."""


# shutil and tempfile are imported inside the functions that need them: opening has to be quick.


def engines_folder() -> Path:
    """Return the folder of the entries, which may not exist yet."""
    return cache_folder() / "engines"


def private_folder(cache: Path | None = None) -> PrivateFolder:
    """Return the folder of the entries, open, and create it where it does not exist.

    `cache` replaces the user's folder of all caches. Raises OSError where the folder can't be
    created, or others could write to it.
    """
    return PrivateFolder(cache / "engines" if cache else engines_folder())


def word_sum(path: Path) -> tuple[int, int]:
    """Return (bytes, sum of the 8-byte words modulo 2^64) of a file, at the speed of memory.

    It detects damage, not manipulation: whoever can write to a user's cache can do worse.
    """
    size = path.stat().st_size
    if not size:
        return 0, 0
    data = np.memmap(path, np.uint8, "r")
    whole = size - size % 8
    total = int(np.add.reduce(data[:whole].view("<u8"), dtype=np.uint64)) if whole else 0
    return size, (total + int.from_bytes(data[whole:].tobytes(), "little")) % 2**64


def is_intact(entry: Path, key: EngineKey) -> bool:
    """Return whether an entry exists, has this key and matches its checksums."""
    record = openable_record(entry, key)
    return record is not None and weights_match(entry, record)


def openable_record(entry: Path, key: EngineKey) -> Record | None:
    """Return the record of an entry that has this key and may be opened; else None.

    Its graph matches its checksum and its weights have their size. The checksum of the weights is
    left to `weights_match`, which can run while they are opened.
    """
    try:
        record = msgspec.json.decode(record_bytes(entry / RECORD), type=Record)
        openable = (
            record.key == key
            and GRAPH in record.sums
            and record.sums.keys() <= {GRAPH, WEIGHTS}
            and all(
                (entry / name).stat().st_size == size for name, (size, _) in record.sums.items()
            )
            and word_sum(entry / GRAPH) == record.sums[GRAPH]
        )
    except UNREADABLE:
        return None
    return record if openable else None


def weights_match(entry: Path, record: Record) -> bool:
    """Return whether the weights of an entry match their checksum."""
    try:
        return WEIGHTS not in record.sums or word_sum(entry / WEIGHTS) == record.sums[WEIGHTS]
    except (OSError, ValueError):
        return False


def new_entry_folder(folder: Path) -> Path:
    """Create and return a temporary folder in which an entry can be made."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix=MAKING, dir=folder))


def publish(made: Path, entry: Path, key: EngineKey, model: Path) -> None:
    """Write the record into a temporary folder and rename the folder to `entry`.

    An intact entry that another process has made meanwhile stays. Raises OSError where the entry
    can't be written.
    """
    import shutil
    import tempfile

    sums = {name: word_sum(made / name) for name in (GRAPH, WEIGHTS) if (made / name).exists()}
    record = Record(key, str(model), sums)
    (made / RECORD).write_bytes(encode_json(record))
    if is_intact(entry, key):
        return
    if os.path.lexists(entry):
        going = Path(tempfile.mkdtemp(prefix=GOING, dir=entry.parent))
        with contextlib.suppress(OSError):
            entry.rename(going / "entry")
        shutil.rmtree(going, ignore_errors=True)
    made.rename(entry)  # fails where another process has just done the same


def enforce_bounds(folder: Path) -> None:
    """Remove leftovers of killed processes, and the longest unused notes and entries."""
    import shutil

    for prefix in (MAKING, GOING):
        for leftover in folder.glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                if time.time() - leftover.lstat().st_mtime > LEFTOVER_AGE_S:
                    shutil.rmtree(leftover, ignore_errors=True)
    remove_old_notes(folder / NOTES)
    present = entries(folder)
    remove_longest_unused(present, sum(entry.bytes for entry in present) - MOST_BYTES)


def remove_old_notes(folder: Path) -> None:
    """Remove the longest unused files of a folder of small files, down to MOST_NOTES."""
    notes = sorted(folder.glob("*"), key=last_used)
    for note in notes[:-MOST_NOTES]:
        with contextlib.suppress(OSError):
            note.unlink()


def entries(folder: Path | None = None) -> list[KeptModel]:
    """Return the entries, the longest unused first; those without a readable record are before."""
    return by_last_use(
        _kept_model(path)
        for path in (folder or engines_folder()).glob("[!.]*")
        if path.name not in (NOTES, CHOICES) and path.is_dir()
    )


def clear() -> Removed:
    """Remove all entries and notes, and return what came of it."""
    return remove_all(engines_folder(), entries())


def _kept_model(folder: Path) -> KeptModel:
    try:
        model = msgspec.json.decode(record_bytes(folder / RECORD), type=_ModelPath).model
        used = last_used(folder / RECORD)
    except UNREADABLE:
        model, used = "", 0.0
    return KeptModel(folder=folder, bytes=entry_bytes(folder), used=used, model=model)
