"""Atomic writes of files, digests of files, and paths as people type them."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from toolchain.errors import DataError

UNREADABLE = (OSError, ValueError, RecursionError, msgspec.MsgspecError)
"""Errors of a JSON file that is gone or damaged; msgspec's are ValueErrors only from 0.21 on, and
text that is no UTF-8 is a ValueError of Python's with each."""

# tempfile and hashlib take milliseconds to import, and a first prediction needs neither: they are
# imported inside the functions.


@contextlib.contextmanager
def atomic_file(path: Path, *, durable: bool = False, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is renamed to `path` if the block raises no error.

    A reader sees the old file or the new one, never a part of one. `durable` waits until the bytes
    are on the disk, so that this also holds after a power failure. `private` lets only the owner
    read the file, and the folder where it has to be created; otherwise both get the permissions
    that the umask leaves.
    """
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if private else 0o777)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        error.filename = str(path)  # the user knows no temporary name
        raise
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if not private:
            # mkstemp creates files that only their owner may read; others have to read a model too.
            temporary.chmod(0o666 & ~current_umask())
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            error.filename = str(path)  # the system does not say which file it was
        raise
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(file: Path) -> None:
    """Raise DataError where a file can't be written, or replaced, at this path.

    For results of long work, before it begins: the file is no folder, and the nearest folder above
    that exists is one that files and folders can be made in.
    """
    if url := as_url(file):
        raise DataError(f"{url} can't be written: it is {A_URL}", hint="name a file on this disk")
    if file.is_dir():
        raise DataError(f"{file} is a folder, not a file")
    above = next(folder for folder in file.absolute().parents if os.path.lexists(folder))
    if not above.is_dir():
        raise DataError(f"{file} can't be written: {above} is not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise DataError(f"{file} can't be written: no permission to write in {above}")


def write_bytes(path: Path, data: bytes, *, durable: bool = False, private: bool = False) -> None:
    """Write a file atomically; see `atomic_file`."""
    with atomic_file(path, durable=durable, private=private) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether a text that a person typed is the path of a folder.

    One that is no path at all, such as an image as base64, is none: `Path.is_dir` raises for it.
    """
    return os.path.isdir(path)  # noqa: PTH112


def is_text(head: bytes) -> bool:
    """Return whether bytes are the beginning of a text in UTF-8; the last letter may be cut."""
    if not head or b"\0" in head:
        return False
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a letter may be cut at the end
            return False
        text = head[: error.start].decode("utf-8-sig")
    return all(letter.isprintable() or letter in "\n\r\t" for letter in text)


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of the system for a disk that is full, or a file that may not get so large."""
A_URL = "a URL, not a path; rtl opens no connections"
DOWNLOAD = "download it first"
"""What a message says of a URL, and its hint."""


def as_url(path: str | os.PathLike[str]) -> str | None:
    """Return the URL that was given for a path, with the slashes that `Path` takes away; else None.

    Where a folder is called `https:`, it is a path.

    >>> as_url(Path("https://example.com/x"))
    'https://example.com/x'
    """
    scheme, colon, rest = os.fspath(path).partition(":/")
    # A letter alone is a drive of Windows.
    is_scheme = len(scheme) > 1 and scheme[0].isalpha() and scheme.isascii()
    plain = scheme.replace("+", "").replace("-", "").replace(".", "").isalnum()
    if not colon or not is_scheme or not plain or os.path.lexists(f"{scheme}:"):
        return None
    return f"{scheme}://{rest.lstrip('/')}"


def unicode_name(name: str) -> str:
    """Return the name of a file as text that UTF-8 can hold.

    A name is bytes; Python shows those that are not UTF-8 as lone surrogates, which no JSON, card
    or picture can hold. They become `\\xe9` …

    >>> unicode_name("caf\\udce9")
    'caf\\\\xe9'
    """
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def encode_json(value: Any, *, order: Literal["sorted"] | None = None) -> bytes:
    """Return a value as JSON; names of files that are not UTF-8 are written by `unicode_name`."""
    try:
        return msgspec.json.encode(value, order=order)
    except UnicodeEncodeError:
        return msgspec.json.encode(_with_unicode_names(msgspec.to_builtins(value)), order=order)


def _with_unicode_names(value: Any) -> Any:
    if isinstance(value, str):
        return unicode_name(value)
    if isinstance(value, dict):
        return {_with_unicode_names(key): _with_unicode_names(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_unicode_names(item) for item in value]
    return value


def json_text(result: Any) -> str:
    """Return a result as the indented JSON text of reports and of `--json`."""
    return msgspec.json.format(encode_json(result)).decode()


def write_json(path: Path, result: Any) -> None:
    """Write a result as indented JSON, atomically."""
    write_text(path, json_text(result) + "\n")


def keep_result(path: Path, result: Any) -> None:
    """Write a result as `write_json` does; where that fails, the DataError holds the result."""
    try:
        write_json(path, result)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        refused = DataError(f"{path} can't be written: {reason}")
        refused.result = result
        raise refused from error


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path without links.

    Of a loop of links it returns the path itself, which then can't be opened: `Path.resolve` raises
    a RuntimeError.
    """
    return Path(os.path.realpath(path))


def display_path(path: Path) -> str:
    """Return a path relative to the current folder, else to home with `~`, else as it is."""
    for current, prefix in ((Path.cwd, ""), (Path.home, "~/")):
        # Neither has to exist: the folder may be removed, and a container's user has no home.
        with contextlib.suppress(OSError, RuntimeError):
            start = current()
            if path.is_relative_to(start) and path != start:
                return prefix + path.relative_to(start).as_posix()
    return str(path)


def current_umask() -> int:
    """Return the process's umask: the permission bits that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
