"""Looks over a TorchScript or .pt2 archive before torch opens it, and runs nothing of it.

Such a file is a zip archive that may hold pickles, and torch unpickles what it finds: a file from
anywhere could run any program. So an archive may only have the members that torch writes for a
model of rtl, each as torch writes it: tensors as raw bytes, pickles that rebuild tensors
(`pickle_scan.py`), a graph that calls torch's operators (`program_scan.py`).
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO

from toolchain.backends.pickle_scan import UnsafePickleError, require_tensors_only
from toolchain.backends.program_scan import (
    UnsafeProgramError,
    require_plain_program,
    require_raw_tensors,
)
from toolchain.errors import ModelFileError

MAX_MEMBERS = 20_000
MAX_TEXT_BYTES = 1 << 26
"""For the members that are read here: pickles, code, JSON and small archives inside the archive."""
END_RECORD_BYTES = 22
RAW = r"byteorder|version|\.data/(version|serialization_id)|\.format_version|\.storage_alignment"
"""Small members without a meaning of their own."""
PROGRAM_RAW = re.compile(
    rf"{RAW}|archive_format|archive_version|extra/[\w.-]+"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+"
)
SCRIPT_RAW = re.compile(rf"{RAW}|extra/[\w.-]+|(data|constants|tensors)/\d+")
TENSORS_RAW = re.compile(rf"{RAW}|data/\d+")
GRAPH = re.compile(r"models/\w+\.json")
TENSOR_LIST = re.compile(r"data/(weights|constants)/\w+_config\.json")
SAVED_TENSORS = re.compile(r"data/(sample_inputs|weights|constants)/\w+\.pt")
CODE = re.compile(r"code/__torch__/[\w/]+\.py")
SCRIPT_PICKLES = ("data.pkl", "constants.pkl")
FORBIDDEN_CODE = re.compile(
    r"\b(ops\.(?!aten\.|prim\.)\w+|(torch|ops\.aten)\.(save|load|from_file|classes)\b"
    r"|__torch__\.torch\.classes)"
)
"""What TorchScript code could write or read files with, or call outside of torch's operators."""

FOREIGN_HINT = "no file of rtl has such a thing; export the model again, or do not trust the file"
DAMAGED = "it is truncated or damaged; copy or export it again"


class ForeignMemberError(ValueError):
    """The archive holds something that rtl does not write."""


def require_safe_archive(path: Path) -> None:
    """Raise ModelFileError for an archive that torch must not open, or that is damaged."""
    try:
        with path.open("rb") as file:
            require_safe_stream(file)
    except ForeignMemberError as error:
        raise ModelFileError(f"{path} must not be opened: {error}", hint=FOREIGN_HINT) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise ModelFileError(f"{path} can't be opened: {error}", hint=DAMAGED) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ModelFileError(f"{path} can't be opened: {reason}") from error


def require_safe_stream(file: IO[bytes]) -> None:
    """Raise for an archive that torch must not open; `require_safe_archive` lists the errors."""
    with zipfile.ZipFile(file) as archive:
        members = _members(archive, file)
        check = _check_script_member if "data.pkl" in members else _check_program_member
        for name, member in members.items():
            try:
                check(name, archive, member)
            except (UnsafePickleError, UnsafeProgramError) as error:
                raise ForeignMemberError(f"its member {name[:80]!r} {error}") from error


def _check_script_member(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    if SCRIPT_RAW.fullmatch(name):
        return
    if name in SCRIPT_PICKLES:
        require_tensors_only(_content(archive, member), script=True)
    elif CODE.fullmatch(name):
        found = FORBIDDEN_CODE.search(_content(archive, member).decode())
        if found:
            raise UnsafeProgramError(f"calls {found[0]!r}")
    else:
        raise _foreign(name)


def _check_program_member(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    if PROGRAM_RAW.fullmatch(name):
        return
    if GRAPH.fullmatch(name):
        require_plain_program(_content(archive, member))
    elif TENSOR_LIST.fullmatch(name):
        require_raw_tensors(_content(archive, member))
    elif SAVED_TENSORS.fullmatch(name):
        _require_saved_tensors(_content(archive, member))
    else:
        raise _foreign(name)


def _require_saved_tensors(data: bytes) -> None:
    """Raise for what torch.save wrote, unless it is an archive of tensors; empty is allowed."""
    if not data:
        return
    file = io.BytesIO(data)
    if not zipfile.is_zipfile(file):
        raise UnsafePickleError("is no archive of tensors")
    with zipfile.ZipFile(file) as archive:
        for name, member in _members(archive, file).items():
            if name == "data.pkl":
                require_tensors_only(_content(archive, member))
            elif not TENSORS_RAW.fullmatch(name):
                raise _foreign(name)


def _members(archive: zipfile.ZipFile, file: IO[bytes]) -> dict[str, zipfile.ZipInfo]:
    """Return the members by their names in the archive's root folder.

    Refused is what another reader of zip archives could read differently: bytes before or after the
    archive, two members of one name, several root folders.
    """
    found = archive.infolist()
    if not found or len(found) > MAX_MEMBERS:
        raise ForeignMemberError(f"it has {len(found):,} members")
    declared = sum(member.file_size for member in found)
    if declared > file.seek(0, 2) + MAX_TEXT_BYTES:  # torch would unpack all of it into memory
        raise ForeignMemberError(f"its members declare {declared:,} bytes")
    file.seek(-END_RECORD_BYTES, 2)
    at_end = file.read(4) == b"PK\5\6" and not archive.comment
    if not at_end or min(member.header_offset for member in found) != 0:
        raise ForeignMemberError("bytes stand before or after its archive")
    root = found[0].filename.partition("/")[0]
    members = {member.filename.removeprefix(f"{root}/"): member for member in found}
    if len({name.lower() for name in members}) < len(found):
        raise ForeignMemberError("two of its members have one name")
    if not all(member.filename.startswith(f"{root}/") for member in found):
        raise ForeignMemberError("its members lie in several folders")
    for member in found:
        if member.flag_bits & 1 or member.filename != member.orig_filename:
            raise ForeignMemberError(f"its member {member.filename[:80]!r} is hidden")
        with archive.open(member):  # compares the name with that in front of the bytes
            pass
    return members


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a member. Raises where it is too large, or its checksum is wrong."""
    if member.file_size > MAX_TEXT_BYTES:
        raise ForeignMemberError(f"its member {member.filename[:80]!r} is too large")
    return archive.read(member)


def _foreign(name: str) -> ForeignMemberError:
    return ForeignMemberError(f"it has a member {name[:80]!r}")
