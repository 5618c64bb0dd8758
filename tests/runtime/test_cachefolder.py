"""Where the folder of all caches lies, and how a cache is bounded and removed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from toolchain.runtime.cachefolder import (
    CacheEntry,
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
    assert cache_folder() == platformdirs.user_cache_path("rtl", appauthor=False)


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
    assert remove_all(tmp_path / "cache", entries) == 600
    assert not (tmp_path / "cache").exists()


def test_an_entry_that_is_gone_has_no_bytes_and_was_never_used(tmp_path: Path) -> None:
    assert entry_bytes(tmp_path / "gone") == 0
    assert last_used(tmp_path / "gone" / "entry.json") == 0
