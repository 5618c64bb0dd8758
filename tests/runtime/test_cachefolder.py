"""Where the folder of all caches lies, and how a cache is bounded and removed."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import platformdirs
import pytest

from toolchain.runtime.cachefolder import (
    DESCRIPTORS,
    CacheEntry,
    PrivateFolder,
    Removed,
    by_last_use,
    cache_folder,
    entry_bytes,
    last_used,
    remove_all,
    remove_longest_unused,
)


@pytest.fixture(autouse=True)
def _without_cache_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RTL_CACHE_DIR", raising=False)


def setenv(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv(name, raising=False)
    else:
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("home", ["/home/a b", "home", "", None])
@pytest.mark.parametrize("caches", ["/caches", "/caches/", "caches", "~/caches", " ", "", None])
def test_cache_folder_is_the_one_of_platformdirs(
    monkeypatch: pytest.MonkeyPatch, home: str | None, caches: str | None
) -> None:
    setenv(monkeypatch, "HOME", home)
    setenv(monkeypatch, "XDG_CACHE_HOME", caches)
    found = cache_folder()
    if home == "/home/a b" and caches in ("caches", "~/caches"):
        # By the XDG specification a relative path is ignored; older platformdirs follow it.
        monkeypatch.delenv("XDG_CACHE_HOME")
    assert found == platformdirs.user_cache_path("rtl", appauthor=False)


@pytest.mark.skipif(sys.platform != "linux", reason="the home is that of the user database")
def test_without_a_home_folder_no_folder_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown(user: int) -> NoReturn:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    setenv(monkeypatch, "HOME", None)
    setenv(monkeypatch, "XDG_CACHE_HOME", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="this user has no home folder"):
        PrivateFolder(cache_folder())
    assert list(tmp_path.iterdir()) == []


def test_rtl_cache_dir_takes_precedence_over_the_users_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="platformdirs is needed on other systems")
def test_on_linux_platformdirs_is_not_imported() -> None:
    code = (
        "import sys; from toolchain.runtime.cachefolder import cache_folder; cache_folder(); "
        "sys.exit('platformdirs' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def entry(folder: Path, size: int, used: float) -> CacheEntry:
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(bytes(size))
    return CacheEntry(folder=folder, bytes=entry_bytes(folder), used=used)


@pytest.fixture
def entries(tmp_path: Path) -> list[CacheEntry]:
    """Entries of 300, 200 and 100 bytes, in the order of their last use."""
    found = [entry(tmp_path / "cache" / str(size), size, -size) for size in (100, 200, 300)]
    return by_last_use(found)


@pytest.mark.parametrize(
    ("bytes_to_free", "left"),
    [(-1, {100, 200, 300}), (0, {100, 200, 300}), (1, {100, 200}), (300, {100, 200}), (301, {100})],
)
def test_the_longest_unused_are_removed_until_enough_is_free(
    entries: list[CacheEntry], bytes_to_free: int, left: set[int]
) -> None:
    removed = remove_longest_unused(entries, bytes_to_free)
    assert {e.bytes for e in entries if e.folder.exists()} == left
    assert removed == entries[: len(removed)]
    assert {e.bytes for e in removed} == {100, 200, 300} - left


def test_all_are_removed_where_they_are_too_small(entries: list[CacheEntry]) -> None:
    assert remove_longest_unused(entries, 1000) == entries
    assert not any(e.folder.exists() for e in entries)


def test_removing_all_returns_the_bytes_and_removes_the_folder(
    entries: list[CacheEntry], tmp_path: Path
) -> None:
    assert remove_all(tmp_path / "cache", entries) == Removed(600, 0, None)
    assert not (tmp_path / "cache").exists()


def test_an_entry_that_is_gone_has_no_bytes_and_was_never_used(tmp_path: Path) -> None:
    assert entry_bytes(tmp_path / "gone") == 0
    assert last_used(tmp_path / "gone" / "entry.json") == 0


def test_a_private_folder_is_the_one_that_was_opened_whatever_its_path_leads_to(
    tmp_path: Path,
) -> None:
    if not DESCRIPTORS.is_dir():
        pytest.skip("folders have no paths by their descriptors here")
    held = PrivateFolder(tmp_path / "cache" / "engines")
    (held.place / "own").write_text("")
    held.path.rename(tmp_path / "away")
    held.path.mkdir()
    (held.path / "planted").write_text("")
    assert [file.name for file in held.place.iterdir()] == ["own"]
    held.close()
    assert not (held.place / "own").exists()


def link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir(parents=True)
    folder.symlink_to("elsewhere")


def open_to_all(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)


def open_to_the_group(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o770)


def below_one_open_to_all(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.parent.chmod(0o777)


def a_file(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("")


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize(
    "make", [link, open_to_all, open_to_the_group, below_one_open_to_all, a_file]
)
def test_a_folder_that_others_could_fill_is_refused(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "cache" / "features")
    with pytest.raises(OSError, match=r"."):
        PrivateFolder(tmp_path / "cache" / "features")


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PrivateFolder(tmp_path / "cache")
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(PermissionError, match="not this user's alone"):
        PrivateFolder(tmp_path / "cache")


def test_what_can_not_be_removed_is_not_called_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache" / "entry").mkdir(parents=True)
    (tmp_path / "cache" / "entry" / "file").write_bytes(bytes(1000))
    entries = [CacheEntry(folder=tmp_path / "cache" / "entry", bytes=1000, used=0.0)]

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", read_only)
        assert remove_all(tmp_path / "cache", entries) == Removed(0, 1000, "read-only file system")
    assert remove_all(tmp_path / "cache", entries) == Removed(1000, 0, None)
    assert remove_all(tmp_path / "cache", []) == Removed(0, 0, None)
