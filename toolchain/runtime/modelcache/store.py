"""The folder of the engine cache: its entries, how they come and go, and whether they are whole.

    <cache>/engines/<key>/model.onnx     the optimised graph
                         /weights.bin    its weights, as the kernels want them
                         /entry.json     what they follow from, and their sums
                   /digests/<name>.json  the digests of model files (`digestnotes.py`)

An entry comes and goes by being renamed, so that it is there as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path

import msgspec
import numpy as np

from toolchain.runtime.cachefolder import cache_folder

MOST_BYTES = 2 * 1024**3
"""What all entries together may take."""
MOST_NOTES = 1000
LEFT_BEHIND_S = 3600.0
"""What was begun so long ago and is not done was left by a process that was killed."""
GRAPH, WEIGHTS, RECORD, NOTES = "model.onnx", "weights.bin", "entry.json", "digests"
MAKING, GOING = ".making-", ".going-"


class Source(msgspec.Struct, frozen=True):
    """What an entry follows from."""

    model_sha256: str
    onnxruntime: str
    processor: str
    rtl: str


class Record(msgspec.Struct, frozen=True):
    """What is written down of an entry."""

    source: Source
    model: str
    """The model file that it was made from, for a person who looks."""
    sums: dict[str, tuple[int, int]]
    """File → (bytes, sum of its 8-byte words modulo 2^64)."""


class EntrySize(msgspec.Struct, frozen=True):
    """What an entry takes on the disk."""

    folder: Path
    model: str
    """Empty for what is no whole entry."""
    bytes: int
    used: float
    """When a process last opened it, in seconds since 1970."""


# Modules that only a new entry needs are imported by those who make one: opening has to be quick.


def engines_folder() -> Path:
    """Return the folder of the entries, which may not be there yet."""
    return cache_folder() / "engines"


def private_folder(cache: Path | None = None) -> Path:
    """Make the folder of the entries if need be; OSError where others could write to it.

    `cache` is the folder of all caches in place of the user's.
    """
    folder = cache / "engines" if cache else engines_folder()
    if folder.parts[:1] == ("~",):
        raise FileNotFoundError("this user has no home folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.lstat()
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    others = 0 if os.name == "nt" else stat.S_IWGRP | stat.S_IWOTH
    if not stat.S_ISDIR(status.st_mode) or not mine or status.st_mode & others:
        raise PermissionError(f"{folder} is not this user's alone")
    return folder


def word_sum(path: Path) -> tuple[int, int]:
    """Return (bytes, sum of the 8-byte words modulo 2^64) of a file, at the speed of memory.

    It finds damage, not malice: whoever can write to a user's cache can do worse.
    """
    size = path.stat().st_size
    if not size:
        return 0, 0
    data = np.memmap(path, np.uint8, "r")
    whole = size - size % 8
    total = int(np.add.reduce(data[:whole].view("<u8"), dtype=np.uint64)) if whole else 0
    return size, (total + int.from_bytes(data[whole:].tobytes(), "little")) % 2**64


def is_whole(entry: Path, source: Source) -> bool:
    """Say whether an entry is there, follows from `source` and is as it was written."""
    record = openable_record(entry, source)
    return record is not None and weights_hold(entry, record)


def openable_record(entry: Path, source: Source) -> Record | None:
    """Return the record of an entry that follows from `source` and may be opened; else None.

    Its graph is as it was written and its weights have their length; see `weights_hold`.
    """
    try:
        record = msgspec.json.decode((entry / RECORD).read_bytes(), type=Record)
        openable = (
            record.source == source
            and GRAPH in record.sums
            and record.sums.keys() <= {GRAPH, WEIGHTS}
            and all(
                (entry / name).stat().st_size == found[0] for name, found in record.sums.items()
            )
            and word_sum(entry / GRAPH) == record.sums[GRAPH]
        )
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return None
    return record if openable else None


def weights_hold(entry: Path, record: Record) -> bool:
    """Say whether the weights of an entry are as they were written."""
    try:
        return WEIGHTS not in record.sums or word_sum(entry / WEIGHTS) == record.sums[WEIGHTS]
    except (OSError, ValueError):
        return False


def begin(folder: Path) -> Path:
    """Return a new folder in which an entry can be made."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix=MAKING, dir=folder))


def put(made: Path, entry: Path, source: Source, model: Path) -> None:
    """Let what was made become an entry, if there is no whole one yet; OSError where it can't."""
    import shutil
    import tempfile

    sums = {name: word_sum(made / name) for name in (GRAPH, WEIGHTS) if (made / name).exists()}
    record = Record(source, str(model), sums)
    (made / RECORD).write_bytes(msgspec.json.encode(record))
    if is_whole(entry, source):
        return  # another process was faster
    if os.path.lexists(entry):
        going = Path(tempfile.mkdtemp(prefix=GOING, dir=entry.parent))
        with contextlib.suppress(OSError):
            entry.rename(going / "entry")
        shutil.rmtree(going, ignore_errors=True)
    made.rename(entry)  # fails where another process has just done the same


def make_room(folder: Path) -> None:
    """Remove leftovers, and entries, the longest unused first, until the rest is within bounds."""
    import shutil

    for prefix in (MAKING, GOING):
        for leftover in folder.glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                if time.time() - leftover.lstat().st_mtime > LEFT_BEHIND_S:
                    shutil.rmtree(leftover, ignore_errors=True)
    notes = [(_time(note), note) for note in (folder / NOTES).glob("*")]
    for _, note in sorted(notes)[:-MOST_NOTES]:
        with contextlib.suppress(OSError):
            note.unlink()
    present = entries(folder)
    total = sum(entry.bytes for entry in present)
    for entry in present:
        if total <= MOST_BYTES:
            break
        shutil.rmtree(entry.folder, ignore_errors=True)
        total -= entry.bytes


def entries(folder: Path | None = None) -> list[EntrySize]:
    """Return the entries, the longest unused first; what is no whole entry comes before them."""
    found = []
    for path in (folder or engines_folder()).glob("[!.]*"):
        if path.name != NOTES and path.is_dir():
            found.append(_entry_size(path))
    return sorted(found, key=lambda entry: entry.used)


def clear() -> int:
    """Remove all entries and notes and give how many bytes the entries were."""
    import shutil

    freed = sum(entry.bytes for entry in entries())
    shutil.rmtree(engines_folder(), ignore_errors=True)
    return freed


def _entry_size(path: Path) -> EntrySize:
    size = 0
    with contextlib.suppress(OSError):
        size = sum(file.stat().st_size for file in path.iterdir())
    try:
        record = msgspec.json.decode((path / RECORD).read_bytes(), type=Record)
    except (OSError, ValueError):
        return EntrySize(path, "", size, 0.0)
    return EntrySize(path, record.model, size, _time(path / RECORD))


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
