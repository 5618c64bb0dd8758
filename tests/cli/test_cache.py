"""`rtl cache` lists and removes what is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Rtl
from tests.runtime.tiny import tiny_model, write
from toolchain import Predictor


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with one entry, of tiny[b].onnx."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RTL_CACHE_DIR", str(folder))
    Predictor(write(tiny_model(), tmp_path / "tiny[b].onnx"))
    return folder


def test_cache_lists_and_removes_models(cache: Path, tmp_path: Path, rtl: Rtl) -> None:
    shown = rtl("cache")
    assert "tiny[b].onnx" in shown.stdout.replace("\n", "")
    assert str(cache / "engines") in shown.stdout.replace("\n", "")
    listed = json.loads(rtl("cache", "--json").stdout)
    assert list(listed) == ["version", "folder", "entries", "engines", "searches"]
    assert (listed["version"], listed["folder"]) == (1, str(cache / "features"))
    assert list(listed["engines"]) == ["folder", "entries"]
    assert listed["entries"] == []
    (entry,) = listed["engines"]["entries"]
    assert entry["model"] == str(tmp_path / "tiny[b].onnx")
    assert entry["bytes"] > 1000
    cleared = rtl("cache", "clear")
    assert cleared.returncode == 0
    assert f"removed 0.0 MB from {cache / 'features'}" in cleared.stdout.replace("\n", " ")
    assert not (cache / "engines").exists()
    assert json.loads(rtl("cache", "--json").stdout)["engines"]["entries"] == []


def test_cache_runs_without_the_packages_for_training(cache: Path) -> None:
    code = "import sys; sys.modules['filelock'] = sys.modules['torch'] = None\n"
    code += "from toolchain.cli.main import run; sys.argv = ['rtl', 'cache', '--json']; run()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["engines"]["entries"]) == 1


def test_clear_says_what_it_could_not_remove(
    cache: Path, rtl_here: Rtl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.unlink", read_only)
    done = rtl_here("cache", "clear")
    assert done.returncode == 3
    assert f"removed 0.0 MB from {cache / 'engines'}" in done.stdout.replace("\n", " ")
    assert f"{cache / 'engines'} still has 0.0 MB: read-only file system" in done.stderr
