"""The folder of all caches: where the user says, else where platformdirs has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from toolchain.runtime.cachefolder import cache_folder


@pytest.fixture(autouse=True)
def _no_folder_of_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RTL_CACHE_DIR", raising=False)


def setenv(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv(name, raising=False)
    else:
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("home", ["/home/a b", "home", "", None])
@pytest.mark.parametrize("caches", ["/caches", "/caches/", "caches", "~/caches", " ", "", None])
def test_it_is_where_platformdirs_has_it(
    monkeypatch: pytest.MonkeyPatch, home: str | None, caches: str | None
) -> None:
    setenv(monkeypatch, "HOME", home)
    setenv(monkeypatch, "XDG_CACHE_HOME", caches)
    assert cache_folder() == platformdirs.user_cache_path("rtl", appauthor=False)


def test_a_folder_of_its_own_goes_before_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="only there the way is short")
def test_on_linux_it_is_found_without_the_slow_import() -> None:
    code = (
        "import sys; from toolchain.runtime.cachefolder import cache_folder; cache_folder(); "
        "sys.exit('platformdirs' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
