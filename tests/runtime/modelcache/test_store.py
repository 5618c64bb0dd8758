"""The folder of the model cache: unusable folders, concurrent processes, and bounds."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.modelcache.engines import (
    Kept,
    assert_no_entry,
    flip_bit,
    large_model,
    logits_of,
)
from toolchain.runtime.cachefolder import Removed
from toolchain.runtime.modelcache import cache, digests, store
from toolchain.runtime.modelcache.store import GRAPH, RECORD, WEIGHTS, EngineKey


def a_file_in_its_place(cache: Path, patch: pytest.MonkeyPatch) -> None:
    cache.write_text("no folder")


def nowhere_to_write(cache: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("RTL_CACHE_DIR", "/proc/rtl")


def anothers(cache: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "getuid", lambda: 4711)


def open_to_all(cache: Path, patch: pytest.MonkeyPatch) -> None:
    (cache / "engines").mkdir(parents=True)
    (cache / "engines").chmod(0o777)


def a_link(cache: Path, patch: pytest.MonkeyPatch) -> None:
    (cache / "elsewhere").mkdir(parents=True, mode=0o700)
    (cache / "engines").symlink_to("elsewhere")


def full_disk(cache: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))


def fails(*_: Any, **__: Any) -> Any:
    raise OSError(30, "Read-only file system")


def read_only(cache: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tempfile, "mkdtemp", fails)
    patch.setattr(tempfile, "mkstemp", fails)


def too_small(cache: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store, "MOST_BYTES", 1000)


@pytest.mark.parametrize(
    "obstacle",
    [
        a_file_in_its_place,
        nowhere_to_write,
        anothers,
        open_to_all,
        a_link,
        full_disk,
        read_only,
        too_small,
    ],
)
def test_without_a_usable_folder_the_model_itself_is_opened(
    obstacle: Callable[[Path, pytest.MonkeyPatch], None],
    large: Path,
    cache: Path,
    opened: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = logits_of(large, cache=False)
    obstacle(cache, monkeypatch)
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    for _ in range(2):
        np.testing.assert_array_equal(logits_of(large), expected)
    assert set(opened) == {large}
    if cache.is_dir():
        assert_no_entry(cache)


def test_user_without_a_home_gets_no_folder_named_tilde(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "cache_folder", lambda: Path("~/.cache/rtl"))
    monkeypatch.chdir(tmp_path)
    logits_of(large)
    assert not (tmp_path / "~").exists()


def test_cache_lies_in_the_users_cache_folder(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RTL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    logits_of(large)
    assert list((tmp_path / "xdg" / "rtl" / "engines").glob("*/entry.json"))
    assert (tmp_path / "xdg" / "rtl" / "engines").stat().st_mode & 0o777 == 0o700


def test_read_only_cache_is_used(
    kept: Kept, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_only(kept.entry, monkeypatch)
    monkeypatch.setattr(os, "utime", fails)
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    np.testing.assert_array_equal(logits_of(kept.model), kept.expected)
    assert opened == [kept.entry / GRAPH]


def python(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


OPENING = """
import sys
import numpy as np
from toolchain import Predictor
predictor = Predictor(sys.argv[1])
pixels = np.random.default_rng(7).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
print(predictor.run(pixels)[1].tobytes().hex())
"""


def test_model_is_opened_when_the_disk_fills_up_while_an_entry_is_written(
    large: Path, cache: Path
) -> None:
    expected = logits_of(large, cache=False)

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    process = python(OPENING, large, preexec_fn=small_files)
    out, err = process.communicate(timeout=60)
    assert out.strip() == expected.tobytes().hex(), err
    assert_no_entry(cache)


def test_processes_that_make_an_entry_at_once_leave_one_intact_entry(
    large: Path, cache: Path
) -> None:
    expected = logits_of(large, cache=False).tobytes().hex()
    processes = [python(OPENING, large) for _ in range(5)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (out.strip(), err) == (expected, "")
    (entry,) = cache.glob("engines/*/entry.json")
    assert sorted(file.name for file in entry.parent.iterdir()) == [RECORD, GRAPH, WEIGHTS]
    assert not list(cache.glob("engines/.*"))


def test_entry_that_another_process_has_just_made_stays(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (kept.entry / WEIGHTS).stat().st_ino
    monkeypatch.setattr(cache.Engine, "open_kept", lambda *_: None)  # it was made after the check
    np.testing.assert_array_equal(logits_of(kept.model), kept.expected)
    assert (kept.entry / WEIGHTS).stat().st_ino == before


def test_processes_that_find_a_damaged_entry_at_once_replace_it(kept: Kept) -> None:
    flip_bit(kept.entry / WEIGHTS)
    processes = [python(OPENING, kept.model) for _ in range(4)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (out.strip(), err) == (kept.expected.tobytes().hex(), "")
    assert [entry.folder for entry in store.entries()] == [kept.entry]
    assert not list(kept.entry.parent.glob(".*"))


def test_longest_unused_entry_is_removed_over_the_bound(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = large_model(tmp_path / "second.onnx", bias=2)
    logits_of(second)
    for age, entry in enumerate(store.entries(), start=1):
        os.utime(entry.folder / RECORD, (1e9 + age, 1e9 + age))
    logits_of(kept.model)  # now the second is the longest unused
    size = store.entries()[0].bytes
    monkeypatch.setattr(store, "MOST_BYTES", int(size * 2.5))
    logits_of(large_model(tmp_path / "third.onnx", bias=3))
    left = {Path(entry.model).name for entry in store.entries()}
    assert left == {"model.onnx", "third.onnx"}


def test_old_leftovers_of_killed_processes_are_removed(
    large: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_NOTES", 3)
    engines = store.private_folder().path
    (engines / "digests").mkdir()
    for number in range(9):
        note = engines / "digests" / f"{number}.json"
        note.touch()
        os.utime(note, (1e9 + number, 1e9 + number))
    for name in (".making-old", ".going-old", ".making-new"):
        (engines / name).mkdir()
        (engines / name / WEIGHTS).write_bytes(bytes(1000))
        if "old" in name:
            os.utime(engines / name, (1e9, 1e9))
    logits_of(large)
    assert [path.name for path in engines.glob(".*")] == [".making-new"]
    assert sorted(note.name for note in (engines / "digests").iterdir()) == [
        "6.json",
        "7.json",
        "8.json",
    ]


def test_clear_returns_the_bytes_and_leaves_nothing(kept: Kept, cache: Path) -> None:
    size = sum(file.stat().st_size for file in kept.entry.iterdir())
    assert store.clear() == Removed(size, 0, None)
    assert not (cache / "engines").exists()
    assert store.entries() == []
    np.testing.assert_array_equal(logits_of(kept.model), kept.expected)


def test_entry_of_an_older_schema_is_listed_with_its_model(kept: Kept) -> None:
    record = kept.entry / RECORD
    old = {"source": {"model_sha256": "", "rtl": "0.1.0"}, "model": str(kept.model), "sums": {}}
    record.write_text(json.dumps(old))
    os.utime(record, (1e9, 1e9))
    (entry,) = store.entries()
    assert (entry.model, entry.used) == (str(kept.model), 1e9)
    assert not store.is_intact(kept.entry, EngineKey("", "", "", store.SCHEMA))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_named_pipe_in_the_cache_is_not_waited_for(kept: Kept, cache: Path) -> None:
    logits_of(kept.model)
    notes = list(cache.glob(f"engines/{store.NOTES}/*"))
    for file in (kept.entry / RECORD, *notes):
        file.unlink()
        os.mkfifo(file)
    (entry,) = store.entries()
    assert entry.model == ""
    np.testing.assert_array_equal(logits_of(kept.model), kept.expected)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"model": 1}', b"\xff", b'{"model": "\xff"}', b'{"key":' + b"[" * 100_000],
    ids=["empty", "cut", "list", "number", "bytes", "text", "nested"],
)
def test_entry_whose_record_is_damaged_is_listed_without_its_model(
    kept: Kept, content: bytes
) -> None:
    (kept.entry / RECORD).write_bytes(content)
    (entry,) = store.entries()
    assert (entry.model, entry.used) == ("", 0.0)
    assert not store.is_intact(kept.entry, EngineKey("", "", "", store.SCHEMA))
