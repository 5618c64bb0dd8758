"""The sha256 of a file, computed once and noted together with the state of the file.

A note is a small file whose name follows from the path of the file it describes. It is valid as
long as size, times, inode and device of that file stay the same. One of the times is the inode's
change time (ctime), which a program can't set: a file that was changed and got its old
modification time back is read again. Read-only images of file systems have times that do not
change with their content, so a note also has a checksum of some parts of the file.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from pathlib import Path

import msgspec

from toolchain.files import UNREADABLE, file_sha256, real_path, write_bytes
from toolchain.runtime.cachefolder import record_bytes

SETTLED_NS = 2_000_000_000
"""A file that changed more recently may change again without a new time: clocks of file systems
are coarse."""

PARTS = 32
PART_BYTES = 4096
END_BYTES = 65536


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
    parts: int
    """The checksum of parts of its content; see `parts_sum`."""
    sha256: str


def state_of(file: Path) -> State:
    """Return the state of a file. Raises OSError where there is none."""
    found = file.stat()
    return State(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def parts_sum(file: Path) -> int:
    """Return a checksum of a file's end and of PARTS pieces of it, read in a millisecond.

    The card is at the end of a model file, and names the digest of its weights and when it was
    made.
    """
    checksum = 0
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        for start in range(0, size, max(size // PARTS, 1)):
            opened.seek(start)
            checksum = zlib.crc32(opened.read(PART_BYTES), checksum)
        opened.seek(max(size - END_BYTES, 0))
        return zlib.crc32(opened.read(), checksum)


def noted_sha256(file: Path, notes: Path) -> tuple[str, State]:
    """Return (sha256, state) of a file; the digest comes from its note where that is valid.

    `notes` is the folder of the notes. A new note is written where it can be.
    """
    path = real_path(file)
    state = state_of(path)
    # Two paths may share a checksum; then they take turns, because a note names its file.
    note_file = notes / f"{zlib.crc32(os.fsencode(path)):08x}.json"
    with contextlib.suppress(*UNREADABLE):
        note = msgspec.json.decode(record_bytes(note_file), type=Note)
        if (note.file, note.state, note.parts) == (ascii(str(path)), state, parts_sum(path)):
            return note.sha256, state
    sha256 = file_sha256(path)
    if state.settled and state_of(path) == state:
        note = Note(ascii(str(path)), state, parts_sum(path), sha256)
        with contextlib.suppress(OSError):
            write_bytes(note_file, msgspec.json.encode(note), private=True)
    return sha256, state
