"""Atomic writes: the whole file or none, with the right permissions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain.files import atomic_file, write_bytes, write_text


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_an_error_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ValueError, match="stop"):
        write_and_fail(tmp_path / "a.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def write_and_fail(path: Path) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        raise ValueError("stop")


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize(
    ("private", "folder", "file"), [(False, 0o755, 0o644), (True, 0o700, 0o600)]
)
def test_private_files_and_their_new_folder_are_for_the_owner_alone(
    private: bool, folder: int, file: int, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "a.bin"
    write_bytes(path, b"content", private=private)
    assert path.read_bytes() == b"content"
    assert path.parent.stat().st_mode & 0o777 == folder
    assert path.stat().st_mode & 0o777 == file
