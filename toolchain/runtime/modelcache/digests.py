"""The digest of a file, computed once: notes say of which state of the file it is.

A note is a small file named after the place of what it speaks of. It holds for as long as size,
times, inode and device stay the same. The time of the last change of the inode is one of them,
which unlike the others can't be set: a file that was changed and got its old time back is read
again.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from pathlib import Path

import msgspec

SETTLED_NS = 2_000_000_000
"""A file that changed so lately may change again within the grain of a file system's clock."""


class State(msgspec.Struct, frozen=True):
    """What can't stay the same when a file's content changes."""

    bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int

    @property
    def settled(self) -> bool:
        """Whether the next change will be seen in the times."""
        return time.time_ns() - max(self.modified_ns, self.changed_ns) > SETTLED_NS


class Note(msgspec.Struct, frozen=True):
    """The digest of a file in a state."""

    file: str
    state: State
    sha256: str


def state_of(file: Path) -> State:
    """Return the state of a file; OSError where there is none."""
    found = file.stat()
    return State(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def noted_sha256(file: Path, notes: Path) -> tuple[str, State]:
    """Return the sha256 of a file, from its note in a folder of notes if it holds, and the state."""
    place = file.resolve()
    state = state_of(place)
    # Two places with one checksum take turns; a note says which it is of.
    path = notes / f"{zlib.crc32(os.fsencode(place)):08x}.json"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        note = msgspec.json.decode(path.read_bytes(), type=Note)
        if (note.file, note.state) == (ascii(str(place)), state):
            return note.sha256, state
    import hashlib  # here, because OpenSSL takes its time

    with place.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    if state.settled and state_of(place) == state:
        with contextlib.suppress(OSError):
            _write(path, msgspec.json.encode(Note(ascii(str(place)), state, sha256)))
    return sha256, state


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    import tempfile

    path.parent.mkdir(exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
