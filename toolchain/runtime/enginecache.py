"""A model file as onnxruntime has optimised it, kept so that the next process opens it at once.

onnxruntime rewrites the graph and packs the weights anew in each process. Here the result is kept in
the user's cache folder, with the weights in a file of their own that is mapped into memory:

    <cache>/engines/<key>/model.onnx     the optimised graph
                         /weights.bin    its weights, as the kernels want them
                         /entry.json     what they follow from, and their sums
                   /digests/<name>.json  the digest of a model file, by its place, size and time

The key is a digest of the model file, the processor and the version of onnxruntime. What is damaged
or foreign is passed over and made again; what has not been used for the longest time goes first when
there is too much. Nothing here fails: without a cache a model only opens more slowly.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CACHE_VARIABLE = "RTL_CACHE_DIR"
MOST_BYTES = 2 * 1024**3
"""What all entries together may take."""
SETTLED_NS = 2_000_000_000
"""A file that changed so lately may change again within the grain of a file system's clock."""
GRAPH, WEIGHTS, RECORD = "model.onnx", "weights.bin", "entry.json"
SAVING = {
    "session.optimized_model_external_initializers_file_name": WEIGHTS,
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
    "session.save_external_prepacked_constant_initializers": "1",
}

Open = Callable[[Path, Any], "InferenceSession"]
"""Opens a model file with session options."""


class Entry(msgspec.Struct, frozen=True):
    """What an optimised model follows from, and how its files can be told to be whole."""

    model_sha256: str
    onnxruntime: str
    processor: str
    sums: dict[str, tuple[int, int]]
    """File → (bytes, sum of its 8-byte words modulo 2^64)."""


class Digest(msgspec.Struct, frozen=True):
    """The digest of a file that has not been touched since."""

    bytes: int
    modified_ns: int
    inode: int
    sha256: str


def cached_session(model: Path, options: Callable[[], Any], open_file: Open) -> InferenceSession:
    """Open a model file through the cache; `options` gives fresh session options on each call."""
    try:
        folder = cache_folder()
        key, entry = _key(model, folder)
    except OSError:
        return open_file(model, options())
    kept = folder / key
    session = _kept_session(kept, entry, options(), open_file)
    if session is None:
        session = _made_session(model, kept, entry, options, open_file)
    return session


def cache_folder() -> Path:
    """Give the folder of the engines, which belongs to the user alone."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        root = Path(given)
    else:
        from platformdirs import user_cache_path

        root = user_cache_path("rtl", appauthor=False)
    folder = root / "engines"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to someone else")
    return folder


def processor() -> str:
    """Describe the processor as far as it decides how weights are packed."""
    about = [platform.machine(), platform.system()]
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        first = text.split("\n\n")[0].splitlines()
        wanted = ("vendor_id", "cpu family", "model\t", "model name", "flags", "Features")
        about += [line for line in first if line.startswith(wanted)]
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]


def word_sum(path: Path) -> tuple[int, int]:
    """Give (bytes, sum of the 8-byte words modulo 2^64) of a file, at the speed of memory.

    It finds damage, not malice: whoever can write to a user's cache can do worse.
    """
    size = path.stat().st_size
    if not size:
        return 0, 0
    data = np.memmap(path, np.uint8, "r")
    whole = size - size % 8
    total = int(np.add.reduce(data[:whole].view("<u8"), dtype=np.uint64)) if whole else 0
    return size, (total + int.from_bytes(data[whole:].tobytes(), "little")) % 2**64


def _key(model: Path, folder: Path) -> tuple[str, Entry]:
    """Give the name of a model's entry, and what it has to say but for the sums."""
    import onnxruntime

    entry = Entry(_digest(model, folder), onnxruntime.__version__, processor(), {})
    text = "\n".join((entry.model_sha256, entry.onnxruntime, entry.processor))
    return hashlib.sha256(text.encode()).hexdigest()[:32], entry


def _digest(model: Path, folder: Path) -> str:
    """Give the sha256 of a model file; of one that has not been touched since, from a note."""
    place = model.resolve()
    status = place.stat()
    note = folder / "digests" / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        found = msgspec.json.decode(note.read_bytes(), type=Digest)
        same = (found.bytes, found.modified_ns, found.inode)
        if same == (status.st_size, status.st_mtime_ns, status.st_ino):
            return found.sha256
    with place.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time_ns() - status.st_mtime_ns > SETTLED_NS:
        made = Digest(status.st_size, status.st_mtime_ns, status.st_ino, sha256)
        with contextlib.suppress(OSError):
            _write(note, msgspec.json.encode(made))
    return sha256


def _kept_session(
    kept: Path, expected: Entry, options: Any, open_file: Open
) -> InferenceSession | None:
    """Open an entry; None where there is none, or it is not whole."""
    import onnxruntime

    try:
        found = msgspec.json.decode((kept / RECORD).read_bytes(), type=Entry)
        whole = msgspec.structs.replace(found, sums={}) == expected and set(found.sums) == {
            GRAPH,
            WEIGHTS,
        }
        if not whole or any(word_sum(kept / name) != sums for name, sums in found.sums.items()):
            return None
        # It is optimised already.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = open_file(kept / GRAPH, options)
        os.utime(kept / RECORD)  # for the order in which entries are removed
    except Exception:  # whatever is wrong with an entry, the model itself is at hand
        return None
    return session


def _made_session(
    model: Path, kept: Path, entry: Entry, options: Callable[[], Any], open_file: Open
) -> InferenceSession:
    """Open the model itself, and leave what onnxruntime made of it as an entry."""
    try:
        made = Path(tempfile.mkdtemp(prefix=".making-", dir=kept.parent))
    except OSError:
        return open_file(model, options())
    saving = options()
    saving.optimized_model_filepath = str(made / GRAPH)
    for name, value in SAVING.items():
        saving.add_session_config_entry(name, value)
    try:
        session = open_file(model, saving)
    except Exception:
        # Saving may be what failed (a full disk); if not, this raises the model's own error.
        shutil.rmtree(made, ignore_errors=True)
        return open_file(model, options())
    with contextlib.suppress(OSError):
        sums = {name: word_sum(made / name) for name in (GRAPH, WEIGHTS)}
        (made / RECORD).write_bytes(msgspec.json.encode(msgspec.structs.replace(entry, sums=sums)))
        _replace(made, kept)
        _make_room(kept.parent, keep=kept)
    shutil.rmtree(made, ignore_errors=True)  # there where it did not become the entry
    return session


def _replace(made: Path, kept: Path) -> None:
    """Let a folder become the entry; of several that come at once one stays."""
    if kept.exists():
        going = Path(tempfile.mkdtemp(prefix=".going-", dir=kept.parent))
        with contextlib.suppress(OSError):
            kept.rename(going / "entry")
        shutil.rmtree(going, ignore_errors=True)
    made.rename(kept)


def _make_room(folder: Path, keep: Path) -> None:
    """Remove entries, the longest unused first, until the rest is within bounds."""
    entries = []
    for record in folder.glob(f"*/{RECORD}"):
        with contextlib.suppress(OSError):
            size = sum(file.stat().st_size for file in record.parent.iterdir())
            entries.append((record.stat().st_mtime, size, record.parent))
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries):
        if total <= MOST_BYTES:
            break
        if entry != keep:
            shutil.rmtree(entry, ignore_errors=True)
            total -= size


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(name).replace(path)
