"""The model cache returns a session with the same outputs, or the model itself is opened."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from tests.runtime.modelcache.engines import (
    WIDTH,
    Kept,
    assert_no_entry,
    flip_bit,
    large_model,
    logits_of,
    set_version,
)
from tests.runtime.tiny import tiny_model, write
from toolchain import Predictor
from toolchain.errors import ModelFileError
from toolchain.runtime import session
from toolchain.runtime.modelcache import cache as cache_module
from toolchain.runtime.modelcache import digests, store
from toolchain.runtime.modelcache.store import GRAPH, RECORD, SCHEMA, WEIGHTS


def test_second_process_opens_the_entry_and_never_the_model(kept: Kept, opened: list[Path]) -> None:
    np.testing.assert_array_equal(logits_of(kept.model), kept.expected)
    assert opened == [kept.entry / GRAPH]


def test_weights_lie_in_a_file_of_their_own(kept: Kept) -> None:
    assert (kept.entry / WEIGHTS).stat().st_size >= 2 * 3 * WIDTH * 4
    assert (kept.entry / GRAPH).stat().st_size < 20_000


def test_card_comes_with_the_entry(kept: Kept) -> None:
    with Predictor(kept.model) as cached, Predictor(kept.model, cache=False) as plain:
        assert cached.card == plain.card


@pytest.mark.parametrize("input_kind", ["pixels", "tensor", "image"])
def test_models_with_any_input_and_small_weights_are_kept(
    input_kind: Any, cache: Path, tmp_path: Path, opened: list[Path]
) -> None:
    path = write(tiny_model(input_kind), tmp_path / "tiny.onnx")
    first, second = logits_of(path), logits_of(path)
    np.testing.assert_array_equal(first, second)
    assert opened[-1].is_relative_to(cache)
    assert opened[0] == path


def test_outputs_of_a_trained_model_are_bit_for_bit_the_same(
    models_by_input: dict[str, Path], cache: Path, stripes: Path, opened: list[Path]
) -> None:
    photo = next((stripes / "val" / "down").iterdir())
    for path in models_by_input.values():
        with Predictor(path, cache=False) as plain, Predictor(path), Predictor(path) as cached:
            assert opened[-1].is_relative_to(cache)
            np.testing.assert_array_equal(plain(photo).logits, cached(photo).logits)


def test_threads_and_spinning_reach_a_kept_model(kept: Kept) -> None:
    found = session.open_session(kept.model, threads=3, spin=True, cache=True)
    options = found.get_session_options()
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"


def test_same_bytes_elsewhere_share_the_entry(
    kept: Kept, tmp_path: Path, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link.onnx").symlink_to(kept.model)
    shutil.copy(kept.model, tmp_path / "copy.onnx")
    monkeypatch.chdir(tmp_path)
    for name in ("link.onnx", "copy.onnx", "model.onnx"):
        logits_of(Path(name))
    assert opened == [kept.entry / GRAPH] * 3


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def nonsense(file: Path) -> None:
    file.write_bytes(b'{"sums": "none"}')


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS, RECORD])
@pytest.mark.parametrize("damage", [flip_bit, cut, zero, nonsense, Path.unlink])
def test_damaged_entry_is_passed_over_and_made_again(
    damage: Callable[[Path], None], name: str, kept: Kept, opened: list[Path]
) -> None:
    damage(kept.entry / name)
    np.testing.assert_array_equal(logits_of(kept.model), kept.expected)
    assert kept.model in opened
    np.testing.assert_array_equal(logits_of(kept.model), kept.expected)
    assert opened[-1] == kept.entry / GRAPH
    assert not list(kept.entry.parent.glob(".*"))


def as_file(entry: Path) -> None:
    entry.write_text("no folder")


def as_broken_link(entry: Path) -> None:
    entry.symlink_to("nowhere")


def as_empty_folder(entry: Path) -> None:
    entry.mkdir()


def as_foreign_folder(entry: Path) -> None:
    entry.mkdir()
    (entry / "notes.txt").write_text("mine")


@pytest.mark.parametrize("obstacle", [as_file, as_broken_link, as_empty_folder, as_foreign_folder])
def test_whatever_has_the_path_of_an_entry_is_replaced(
    obstacle: Callable[[Path], None], kept: Kept, opened: list[Path]
) -> None:
    shutil.rmtree(kept.entry)
    obstacle(kept.entry)
    for _ in range(2):
        np.testing.assert_array_equal(logits_of(kept.model), kept.expected)
    assert opened[0] == kept.model
    assert opened[-1] == kept.entry / GRAPH


def test_entry_of_another_model_under_this_ones_name_is_not_opened(
    kept: Kept, tmp_path: Path
) -> None:
    other = large_model(tmp_path / "other.onnx", bias=5)
    logits_of(other)
    (theirs,) = (e.folder for e in store.entries() if e.folder != kept.entry)
    shutil.rmtree(kept.entry)
    theirs.rename(kept.entry)
    np.testing.assert_array_equal(logits_of(kept.model), kept.expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(onnxruntime, "__version__", "9.9.9"),
        lambda patch: patch.setattr(cache_module, "processor", lambda: "another"),
        lambda patch: patch.setattr(cache_module, "SCHEMA", SCHEMA + 1),
    ],
    ids=["onnxruntime", "processor", "schema"],
)
def test_entry_of_another_onnxruntime_processor_or_schema_is_not_opened(
    change: Callable[[pytest.MonkeyPatch], None],
    kept: Kept,
    opened: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(monkeypatch)
    logits_of(kept.model)
    assert opened[0] == kept.model
    logits_of(kept.model)
    assert opened[-1].parent not in (kept.entry, kept.model.parent)


def test_entry_of_another_version_of_rtl_is_opened(
    kept: Kept, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_version("9.9.9", monkeypatch)
    np.testing.assert_array_equal(logits_of(kept.model), kept.expected)
    assert opened == [kept.entry / GRAPH]


def test_model_that_changed_in_place_and_got_its_old_time_back_is_read_again(
    large: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_NS", -1)  # notes are written at once
    old = logits_of(large)
    status = large.stat()
    assert list((cache / "engines" / "digests").iterdir())
    time.sleep(0.05)  # the resolution of the file system's clock
    changed = large_model(tmp_path / "changed.onnx", bias=5).read_bytes()
    assert len(changed) == status.st_size
    large.write_bytes(changed)
    os.utime(large, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (large.stat().st_ino, large.stat().st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
    np.testing.assert_allclose(logits_of(large)[:, 0], old[:, 0] + 5, rtol=1e-4)


def test_digest_of_a_file_that_was_just_written_is_not_noted(large: Path, cache: Path) -> None:
    logits_of(large)
    assert not (cache / "engines" / "digests").exists()


def test_model_that_has_not_changed_is_not_read_again(
    kept: Kept, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    logits_of(kept.model)
    monkeypatch.delattr("hashlib.file_digest")
    monkeypatch.delattr("toolchain.runtime.onnxfile.scan.scan_model")
    np.testing.assert_array_equal(logits_of(kept.model), kept.expected)
    assert set(opened) == {kept.entry / GRAPH}


def with_weights_elsewhere(path: Path) -> None:
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)


def with_card_of_another_model(path: Path) -> None:
    model = onnx.load(path)
    text = tiny_model("tensor").metadata_props[0].value
    helper.set_model_props(model, {"rtl.card": text})
    write(model, path)


def without_card(path: Path) -> None:
    model = onnx.load(path)
    del model.metadata_props[:]
    write(model, path)


@pytest.mark.parametrize(
    "damage", [with_weights_elsewhere, with_card_of_another_model, without_card, cut, zero]
)
def test_model_that_is_refused_leaves_no_entry(
    damage: Callable[[Path], None], large: Path, cache: Path
) -> None:
    damage(large)
    for _ in range(2):
        with pytest.raises(ModelFileError):
            Predictor(large)
    assert_no_entry(cache)


def test_model_that_is_replaced_while_it_is_opened_leaves_no_entry(
    large: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = large_model(tmp_path / "other.onnx", bias=5)
    real = session.checked_scan

    def scan_and_replace(path: Path) -> Any:
        found = real(path)
        other.replace(path)
        return found

    monkeypatch.setattr(session, "checked_scan", scan_and_replace)
    with pytest.raises(ModelFileError, match="has changed since it was opened"):
        logits_of(large)
    assert_no_entry(cache)


def test_entry_with_other_outputs_than_its_model_is_not_kept(
    large: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = large_model(tmp_path / "wrong.onnx", bias=1)
    expected = logits_of(large, cache=False)
    real = cache_module._open_entry
    monkeypatch.setattr(
        cache_module,
        "_open_entry",
        lambda entry, options, open_file: real(entry, options, lambda _, o: open_file(wrong, o)),
    )
    np.testing.assert_array_equal(logits_of(large), expected)
    assert_no_entry(cache)


def test_without_the_cache_no_entry_is_read_or_written(kept: Kept, opened: list[Path]) -> None:
    before = sorted(kept.entry.parent.rglob("*"))
    flip_bit(kept.entry / WEIGHTS)
    np.testing.assert_array_equal(logits_of(kept.model, cache=False), kept.expected)
    assert opened == [kept.model]
    assert sorted(kept.entry.parent.rglob("*")) == before


def test_entry_is_opened_where_no_thread_can_be_started(
    kept: Kept, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    np.testing.assert_array_equal(logits_of(kept.model), kept.expected)
    assert opened == [kept.entry / GRAPH]


def test_model_with_other_content_and_the_same_state_is_read_again(
    large: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a read-only image of a file system, two versions of a file may have all times equal."""
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    state = digests.state_of(large)
    monkeypatch.setattr(digests, "state_of", lambda _: state)
    old = logits_of(large)
    assert list((cache / "engines" / "digests").iterdir())
    large.write_bytes(large_model(tmp_path / "changed.onnx", bias=5).read_bytes())
    np.testing.assert_allclose(logits_of(large)[:, 0], old[:, 0] + 5, rtol=1e-4)
