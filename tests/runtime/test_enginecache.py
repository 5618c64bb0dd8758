"""The engine cache: opens faster, answers the same, and whatever is wrong with it does no harm."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper

from tests.runtime.tiny import SIDE, tiny_model, weight, write
from toolchain import Predictor
from toolchain.errors import ModelFileError
from toolchain.runtime import digestnotes, enginecache, enginestore, session
from toolchain.runtime.enginestore import GRAPH, RECORD, WEIGHTS

WIDTH = 4096
PIXELS = np.random.default_rng(7).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)


def large_model(path: Path, bias: float = 0) -> Path:
    """Write a tiny model with a layer that is large enough for a file of its own."""
    model = tiny_model()
    up = np.linspace(-1, 1, 3 * WIDTH, dtype=np.float32).reshape(3, WIDTH) / 64
    down = np.linspace(-1, 2, 3 * WIDTH, dtype=np.float32).reshape(WIDTH, 3)
    weights = {w.name: w for w in model.graph.initializer}
    weights["weight"].CopyFrom(weight("weight", down))
    weights["bias"].CopyFrom(weight("bias", np.array([bias, 0, 0], np.float32)))
    model.graph.initializer.append(weight("up", up))
    place = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Gemm")
    model.graph.node[place].input[0] = "wide"
    model.graph.node.insert(place, helper.make_node("MatMul", ["row", "up"], ["wide"]))
    return write(model, path)


def answer(path: Path, **options: Any) -> NDArray[np.float32]:
    with Predictor(path, **options) as predictor:
        return predictor.run(PIXELS)[1]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all caches, which is not there yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RTL_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return large_model(tmp_path / "model.onnx")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that onnxruntime opens from now on."""
    files: list[Path] = []
    real = session._opened

    def noted(path: Path, *args: Any, **options: Any) -> Any:
        files.append(path)
        return real(path, *args, **options)

    monkeypatch.setattr(session, "_opened", noted)
    return files


class Kept(NamedTuple):
    """A model with an entry, and its right answer."""

    model: Path
    entry: Path
    right: NDArray[np.float32]


@pytest.fixture
def kept(large: Path, cache: Path) -> Kept:
    right = answer(large, cache=False)
    answer(large)
    (entry,) = enginestore.entries()
    return Kept(large, entry.folder, right)


def assert_no_entry(cache: Path) -> None:
    assert not list(cache.glob("engines/*/entry.json"))
    assert not list(cache.glob("engines/.*")), "something half made was left"


def test_second_process_opens_the_entry_and_never_the_model(kept: Kept, opened: list[Path]) -> None:
    np.testing.assert_array_equal(answer(kept.model), kept.right)
    assert opened == [kept.entry / GRAPH]


def test_weights_lie_in_a_file_of_their_own(kept: Kept) -> None:
    assert (kept.entry / WEIGHTS).stat().st_size >= 2 * 3 * WIDTH * 4
    assert (kept.entry / GRAPH).stat().st_size < 20_000


def test_card_comes_with_the_entry(kept: Kept) -> None:
    with Predictor(kept.model) as cached, Predictor(kept.model, cache=False) as plain:
        assert cached.card == plain.card


@pytest.mark.parametrize("door", ["pixels", "tensor", "image"])
def test_models_with_any_door_and_small_weights_are_kept(
    door: Any, cache: Path, tmp_path: Path, opened: list[Path]
) -> None:
    path = write(tiny_model(door), tmp_path / "tiny.onnx")
    first, second = answer(path), answer(path)
    np.testing.assert_array_equal(first, second)
    assert opened[-1].is_relative_to(cache)
    assert opened[0] == path


def test_trained_model_answers_bit_for_bit_alike(
    doors: dict[str, Path], cache: Path, stripes: Path, opened: list[Path]
) -> None:
    photo = next((stripes / "val" / "down").iterdir())
    for path in doors.values():
        with Predictor(path, cache=False) as plain, Predictor(path), Predictor(path) as cached:
            assert opened[-1].is_relative_to(cache)
            np.testing.assert_array_equal(plain(photo).logits, cached(photo).logits)


def test_threads_and_spinning_reach_a_kept_engine(kept: Kept) -> None:
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
        answer(Path(name))
    assert opened == [kept.entry / GRAPH] * 3


def flip_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


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
    np.testing.assert_array_equal(answer(kept.model), kept.right)
    assert kept.model in opened
    np.testing.assert_array_equal(answer(kept.model), kept.right)
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


@pytest.mark.parametrize("thing", [as_file, as_broken_link, as_empty_folder, as_foreign_folder])
def test_what_stands_in_an_entrys_place_is_replaced(
    thing: Callable[[Path], None], kept: Kept, opened: list[Path]
) -> None:
    shutil.rmtree(kept.entry)
    thing(kept.entry)
    for _ in range(2):
        np.testing.assert_array_equal(answer(kept.model), kept.right)
    assert opened[0] == kept.model
    assert opened[-1] == kept.entry / GRAPH


def test_entry_of_another_model_under_this_ones_name_is_not_opened(
    kept: Kept, tmp_path: Path
) -> None:
    other = large_model(tmp_path / "other.onnx", bias=5)
    answer(other)
    (theirs,) = (e.folder for e in enginestore.entries() if e.folder != kept.entry)
    shutil.rmtree(kept.entry)
    theirs.rename(kept.entry)
    np.testing.assert_array_equal(answer(kept.model), kept.right)


@pytest.mark.parametrize(
    "upgrade",
    [
        lambda patch: patch.setattr(onnxruntime, "__version__", "9.9.9"),
        lambda patch: patch.setattr(enginecache, "processor", lambda: "another"),
        lambda patch: patch.setattr(enginecache, "__version__", "9.9.9"),
    ],
    ids=["onnxruntime", "processor", "rtl"],
)
def test_entry_of_another_version_or_processor_is_not_opened(
    upgrade: Callable[[pytest.MonkeyPatch], None],
    kept: Kept,
    opened: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upgrade(monkeypatch)
    answer(kept.model)
    assert opened[0] == kept.model
    answer(kept.model)
    assert opened[-1].parent not in (kept.entry, kept.model.parent)


def test_model_that_changed_in_place_and_got_its_old_time_back_is_read_again(
    large: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digestnotes, "SETTLED_NS", -1)  # notes are taken at once
    old = answer(large)
    status = large.stat()
    assert list((cache / "engines" / "digests").iterdir())
    time.sleep(0.05)  # the grain of the file system's clock
    changed = large_model(tmp_path / "changed.onnx", bias=5).read_bytes()
    assert len(changed) == status.st_size
    large.write_bytes(changed)
    os.utime(large, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (large.stat().st_ino, large.stat().st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
    np.testing.assert_allclose(answer(large)[:, 0], old[:, 0] + 5, rtol=1e-4)


def test_digest_of_a_file_that_was_just_written_is_not_noted(large: Path, cache: Path) -> None:
    answer(large)
    assert not (cache / "engines" / "digests").exists()


def test_model_that_has_not_changed_is_not_read_again(
    kept: Kept, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digestnotes, "SETTLED_NS", -1)
    answer(kept.model)
    monkeypatch.delattr("hashlib.file_digest")
    monkeypatch.delattr("toolchain.runtime.modelscan.scan_model")
    np.testing.assert_array_equal(answer(kept.model), kept.right)
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
    "spoil", [with_weights_elsewhere, with_card_of_another_model, without_card, cut, zero]
)
def test_model_that_is_refused_leaves_no_entry(
    spoil: Callable[[Path], None], large: Path, cache: Path
) -> None:
    spoil(large)
    for _ in range(2):
        with pytest.raises(ModelFileError):
            Predictor(large)
    assert_no_entry(cache)


def test_model_that_is_replaced_while_it_is_opened_leaves_no_entry(
    large: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = large_model(tmp_path / "other.onnx", bias=5)
    real = session.looked_over

    def looked_over_and_replaced(path: Path) -> Any:
        found = real(path)
        other.replace(path)
        return found

    monkeypatch.setattr(session, "looked_over", looked_over_and_replaced)
    answer(large)
    assert_no_entry(cache)


def test_engine_that_would_answer_otherwise_is_not_kept(
    large: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = large_model(tmp_path / "wrong.onnx", bias=1)
    right = answer(large, cache=False)
    real = enginecache._open_entry
    monkeypatch.setattr(
        enginecache,
        "_open_entry",
        lambda entry, options, open_file: real(entry, options, lambda _, o: open_file(wrong, o)),
    )
    np.testing.assert_array_equal(answer(large), right)
    assert_no_entry(cache)


def test_without_the_cache_nothing_is_looked_at_or_left(kept: Kept, opened: list[Path]) -> None:
    before = sorted(kept.entry.parent.rglob("*"))
    flip_bit(kept.entry / WEIGHTS)
    np.testing.assert_array_equal(answer(kept.model, cache=False), kept.right)
    assert opened == [kept.model]
    assert sorted(kept.entry.parent.rglob("*")) == before


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
    patch.setattr(enginestore, "MOST_BYTES", 1000)


@pytest.mark.parametrize(
    "trouble",
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
def test_without_a_place_for_a_cache_the_model_itself_is_opened(
    trouble: Callable[[Path, pytest.MonkeyPatch], None],
    large: Path,
    cache: Path,
    opened: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = answer(large, cache=False)
    trouble(cache, monkeypatch)
    monkeypatch.setattr(digestnotes, "SETTLED_NS", -1)
    for _ in range(2):
        np.testing.assert_array_equal(answer(large), right)
    assert set(opened) == {large}
    if cache.is_dir():
        assert_no_entry(cache)


def test_user_without_a_home_gets_no_folder_of_that_name(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enginestore, "cache_folder", lambda: Path("~/.cache/rtl"))
    monkeypatch.chdir(tmp_path)
    answer(large)
    assert not (tmp_path / "~").exists()


def test_cache_lies_where_the_users_caches_do(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RTL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    answer(large)
    assert list((tmp_path / "xdg" / "rtl" / "engines").glob("*/entry.json"))
    assert (tmp_path / "xdg" / "rtl" / "engines").stat().st_mode & 0o777 == 0o700


def test_cache_that_can_only_be_read_serves_what_is_in_it(
    kept: Kept, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_only(kept.entry, monkeypatch)
    monkeypatch.setattr(os, "utime", fails)
    monkeypatch.setattr(digestnotes, "SETTLED_NS", -1)
    np.testing.assert_array_equal(answer(kept.model), kept.right)
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


def test_disk_that_fills_up_while_an_entry_is_written_does_no_harm(
    large: Path, cache: Path
) -> None:
    right = answer(large, cache=False)

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    process = python(OPENING, large, preexec_fn=small_files)
    out, err = process.communicate(timeout=60)
    assert out.strip() == right.tobytes().hex(), err
    assert_no_entry(cache)


def test_processes_that_build_at_once_leave_one_whole_entry(large: Path, cache: Path) -> None:
    right = answer(large, cache=False).tobytes().hex()
    processes = [python(OPENING, large) for _ in range(5)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (out.strip(), err) == (right, "")
    (entry,) = cache.glob("engines/*/entry.json")
    assert sorted(file.name for file in entry.parent.iterdir()) == [RECORD, GRAPH, WEIGHTS]
    assert not list(cache.glob("engines/.*"))


def test_entry_that_another_process_has_just_made_stays(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (kept.entry / WEIGHTS).stat().st_ino
    monkeypatch.setattr(enginecache.Engine, "kept", lambda *_: None)  # it came after the look
    np.testing.assert_array_equal(answer(kept.model), kept.right)
    assert (kept.entry / WEIGHTS).stat().st_ino == before


def test_builders_that_find_a_damaged_entry_at_once_repair_it(kept: Kept) -> None:
    flip_bit(kept.entry / WEIGHTS)
    processes = [python(OPENING, kept.model) for _ in range(4)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (out.strip(), err) == (kept.right.tobytes().hex(), "")
    assert [entry.folder for entry in enginestore.entries()] == [kept.entry]
    assert not list(kept.entry.parent.glob(".*"))


def test_longest_unused_entry_goes_when_there_is_too_much(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = large_model(tmp_path / "second.onnx", bias=2)
    answer(second)
    for age, entry in enumerate(enginestore.entries(), start=1):
        os.utime(entry.folder / RECORD, (1e9 + age, 1e9 + age))
    answer(kept.model)  # now the second is the one that was not used for longest
    size = enginestore.entries()[0].bytes
    monkeypatch.setattr(enginestore, "MOST_BYTES", int(size * 2.5))
    answer(large_model(tmp_path / "third.onnx", bias=3))
    left = {Path(entry.model).name for entry in enginestore.entries()}
    assert left == {"model.onnx", "third.onnx"}


def test_what_killed_processes_left_is_swept_when_it_is_old(
    large: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enginestore, "MOST_NOTES", 3)
    engines = enginestore.private_folder()
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
    answer(large)
    assert [path.name for path in engines.glob(".*")] == [".making-new"]
    assert sorted(note.name for note in (engines / "digests").iterdir()) == [
        "6.json",
        "7.json",
        "8.json",
    ]


def test_clearing_gives_the_bytes_and_leaves_nothing(kept: Kept, cache: Path) -> None:
    size = sum(file.stat().st_size for file in kept.entry.iterdir())
    assert enginestore.clear() == size
    assert not (cache / "engines").exists()
    assert enginestore.entries() == []
    np.testing.assert_array_equal(answer(kept.model), kept.right)


def test_entry_serves_where_no_thread_can_be_started(
    kept: Kept, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    np.testing.assert_array_equal(answer(kept.model), kept.right)
    assert opened == [kept.entry / GRAPH]
