from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tests.leftovers import LARGE_BYTES, PREFIX, remove_large_files


def test_a_process_has_a_temporary_folder_of_its_own_that_goes_with_it(tmp_path: Path) -> None:
    code = "import tempfile; from tests.leftovers import own_temporary_folder as own\n"
    code += "folder = own(); print(tempfile.mkdtemp())"
    killed = tmp_path / f"{PREFIX}{2**22 + 1}-abc"  # no process has this number
    alive, other = tmp_path / f"{PREFIX}{os.getpid()}-abc", tmp_path / f"{PREFIX}notes"
    for folder in (killed, alive, other):
        folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTEST_DEBUG_TEMPROOT": str(tmp_path), "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert done.stdout.startswith(f"{tmp_path}/{PREFIX}")
    assert sorted(tmp_path.iterdir()) == sorted([alive, other])


def test_temporary_files_of_the_tests_are_in_that_folder() -> None:
    folder = tempfile.gettempdir()
    assert PREFIX in folder
    assert os.environ["TMPDIR"] == folder
    assert os.environ["RTL_CACHE_DIR"].startswith(folder)


def test_large_files_of_failed_tests_are_removed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").write_bytes(bytes(LARGE_BYTES + 1))
    (tmp_path / "run" / "metrics.jsonl").write_text("{}")
    remove_large_files(tmp_path)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["metrics.jsonl"]
