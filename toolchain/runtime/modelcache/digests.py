"""The sha256 of a file, computed once and noted together with the state of the file.

A note is a small file whose name follows from the path of the file it describes. It is valid as
long as size, times, inode and device of that file stay the same. One of the times is the inode's
change time (ctime), which a program can't set: a file that was changed and got its old
modification time back is read again.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from pathlib import Path

import msgspec

from toolchain.files import file_sha256, real_path, write_bytes

SETTLED_NS = 2_000_000_000
"""A file that changed more recently may change again without a new time: clocks of file systems
are coarse."""


class State(msgspec.Struct, frozen=True):
    """Size, times and place of a file: at least one differs after its content has changed."""

    bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int

    @property
    def settled(self) -> bool:
        """Whether the next change of the file will change its times."""
        return time.time_ns() - max(self.modified_ns, self.changed_ns) > SETTLED_NS


class Note(msgspec.Struct, frozen=True):
    """The sha256 of a file, and the state of the file in which it was computed."""

    file: str
    state: State
    sha256: str


def state_of(file: Path) -> State:
    """Return the state of a file. Raises OSError where there is none."""
    found = file.stat()
    return State(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def noted_sha256(file: Path, notes: Path) -> tuple[str, State]:
    """Return (sha256, state) of a file; the digest comes from its note where that is valid.

    `notes` is the folder of the notes. A new note is written where it can be.
    """
    path = real_path(file)
    state = state_of(path)
    # Two paths may share a checksum; then they take turns, because a note names its file.
    note_file = notes / f"{zlib.crc32(os.fsencode(path)):08x}.json"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        note = msgspec.json.decode(note_file.read_bytes(), type=Note)
        if (note.file, note.state) == (ascii(str(path)), state):
            return note.sha256, state
    sha256 = file_sha256(path)
    if state.settled and state_of(path) == state:
        note = Note(ascii(str(path)), state, sha256)
        with contextlib.suppress(OSError):
            write_bytes(note_file, msgspec.json.encode(note), private=True)
    return sha256, state
