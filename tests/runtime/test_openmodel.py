"""One predictor with threads, forks, pickling, copies, closing and many predictions."""

from __future__ import annotations

import copy
import io
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.runtime.tiny import SIDE, tiny_model, write
from toolchain import Prediction, Predictor
from toolchain.errors import ModelFileError
from toolchain.runtime.session import open_session

# Python warns of forking a process with threads, which these tests do.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGES = np.random.default_rng(3).integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write(tiny_model(), tmp_path / "tiny.onnx")


@pytest.fixture
def predictor(tiny: Path) -> Predictor:
    return Predictor(tiny, threads=2)


def logits(predictor: Predictor) -> NDArray[np.float32]:
    return predictor.run(IMAGES[:3])[1]


def test_sixteen_threads_return_what_one_returns(model: Path, stripes: Path) -> None:
    photos = sorted((stripes / "val").rglob("*.jpg"))[:20]
    with Predictor(model, threads=2) as predictor:
        alone = np.stack([predictor(photo).logits for photo in photos])

        def all_photos(start: int) -> NDArray[np.float32]:
            rotated = [*range(start, len(photos)), *range(start)]
            found = {index: predictor(photos[index]).logits for index in rotated}
            return np.stack([found[index] for index in range(len(photos))])

        with ThreadPoolExecutor(16) as pool:
            for together in pool.map(all_photos, range(16)):
                np.testing.assert_array_equal(together, alone)


def test_pickle_holds_the_path_and_the_options(predictor: Predictor) -> None:
    data = pickle.dumps(predictor)
    assert len(data) < 400
    np.testing.assert_array_equal(logits(pickle.loads(data)), logits(predictor))


def test_options_survive_pickling(tiny: Path) -> None:
    first = Predictor(tiny, provider="cpu", threads=3, spin=True, cache=False)
    again = pickle.loads(pickle.dumps(first))
    assert again._open_model.options == {
        "provider": "cpu",
        "threads": 3,
        "spin": True,
        "cache": False,
    }
    found = again.session.get_session_options()
    assert found.intra_op_num_threads == 3
    assert found.get_session_config_entry("session.intra_op.allow_spinning") == "1"


def test_the_session_is_the_one_that_computes(predictor: Predictor) -> None:
    (logits_of_session,) = predictor.session.run(["logits"], {"pixels": IMAGES[:3]})
    np.testing.assert_array_equal(logits_of_session, logits(predictor))
    with pytest.raises(AttributeError):
        predictor.session = None  # type: ignore[misc]


def test_relative_path_is_found_from_another_folder(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    predictor = Predictor("tiny.onnx")
    assert predictor.model == "tiny.onnx"
    data = pickle.dumps(predictor)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(logits(pickle.loads(data)), logits(predictor))


def test_unpickled_where_the_file_is_not_there_is_a_model_file_error(
    predictor: Predictor, tiny: Path
) -> None:
    data = pickle.dumps(predictor)
    tiny.unlink()
    logits(predictor)  # the first one is open
    with pytest.raises(ModelFileError, match=r"tiny\.onnx: no such file"):
        pickle.loads(data)


def test_a_url_of_a_model_is_called_one() -> None:
    with pytest.raises(ModelFileError, match="a URL, not a path") as raised:
        Predictor("https://example.com/model.onnx")
    assert raised.value.hint == "download it first"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copy_is_independent(
    copied: Callable[[Predictor], Predictor], predictor: Predictor
) -> None:
    other = copied(predictor)
    expected = logits(predictor)
    predictor.close()
    np.testing.assert_array_equal(logits(other), expected)


@pytest.mark.parametrize(
    "use",
    [
        lambda predictor: predictor(IMAGES[0]),
        lambda predictor: predictor.run(IMAGES),
        lambda predictor: list(predictor.predict_many([IMAGES[0]])),
        lambda predictor: predictor.session,
        pickle.dumps,
        copy.copy,
    ],
    ids=["call", "run", "predict_many", "session", "pickle", "copy"],
)
def test_use_after_closing_raises(use: Callable[[Predictor], Any], predictor: Predictor) -> None:
    predictor.close()
    predictor.close()
    with pytest.raises(ValueError, match="this predictor is closed"):
        use(predictor)
    assert predictor.classes == ("across", "aslant", "down")


def test_the_end_of_a_block_closes(tiny: Path) -> None:
    with Predictor(tiny) as predictor:
        logits(predictor)
    with pytest.raises(ValueError, match="this predictor is closed"):
        logits(predictor)


def test_closing_while_threads_predict_raises_the_same_error_in_them(predictor: Predictor) -> None:
    expected = logits(predictor)
    started = threading.Barrier(5)

    def until_closed() -> str:
        np.testing.assert_array_equal(logits(predictor), expected)
        started.wait()
        while True:
            try:
                np.testing.assert_array_equal(logits(predictor), expected)
            except ValueError as error:
                return str(error)

    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(until_closed) for _ in range(4)]
        started.wait()
        time.sleep(0.02)
        predictor.close()
        assert {end.result(timeout=30) for end in ends} == {"this predictor is closed"}


def predict_into(queue: SimpleQueue[Any], predictor: Predictor) -> None:
    """Run in the child process: put the logits or the error into the queue."""
    try:
        queue.put(logits(predictor))
    except Exception as error:
        queue.put(error)


def from_a_child(start: str, predictor: Predictor) -> Any:
    context: Any = multiprocessing.get_context(start)
    queue = context.SimpleQueue()
    process = context.Process(target=predict_into, args=(queue, predictor))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == 0
    return queue.get()


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_child_process_computes_the_same(start: str, predictor: Predictor) -> None:
    expected = logits(predictor)
    np.testing.assert_array_equal(from_a_child(start, predictor), expected)
    np.testing.assert_array_equal(logits(predictor), expected)  # and the parent still does


def test_forked_child_opens_the_file_again(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = os.getpid()

    def opened_by(*args: Any, **options: Any) -> Any:
        assert os.getpid() != parent
        raise ModelFileError("opened by the child")

    monkeypatch.setattr("toolchain.runtime.openmodel.open_session", opened_by)
    assert "opened by the child" in str(from_a_child("fork", predictor))
    logits(predictor)


def test_forked_child_raises_where_the_file_has_changed(predictor: Predictor, tiny: Path) -> None:
    changed = tiny_model(card=None)
    text = changed.metadata_props[0].value.replace('"tiny"', '"another"')
    changed.metadata_props[0].value = text
    write(changed, tiny)
    error = from_a_child("fork", predictor)
    assert isinstance(error, ModelFileError)
    assert "has changed since it was opened" in str(error)


def test_closed_predictor_stays_closed_in_a_forked_child(predictor: Predictor) -> None:
    predictor.close()
    assert "this predictor is closed" in str(from_a_child("fork", predictor))


@pytest.mark.parametrize("spin", [False, True])
def test_threads_sleep_between_predictions_unless_asked_to_spin(spin: bool, tiny: Path) -> None:
    options = open_session(tiny, threads=2, spin=spin).get_session_options()
    found = options.get_session_config_entry("session.intra_op.allow_spinning")
    assert found == ("1" if spin else "0")


def test_memory_does_not_grow_with_the_number_of_predictions(tiny: Path) -> None:
    script = ROOT / "tests" / "slow" / "predictor_memory.py"
    command = [sys.executable, str(script), str(tiny), "--first", "200", "--last", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "after 1000 predictions" in done.stdout


def test_memory_script_sees_a_leak(tiny: Path) -> None:
    script = ROOT / "tests" / "slow" / "predictor_memory.py"
    command = [
        sys.executable,
        str(script),
        str(tiny),
        "--first",
        "200",
        "--last",
        "1000",
        "--leak",
        "5",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr


def test_the_pixel_limit_is_an_option_and_survives_pickling(tiny: Path) -> None:
    images = []
    for height in (100, 101):
        stream = io.BytesIO()
        Image.new("RGB", (100, height)).save(stream, "PNG")
        images.append(stream.getvalue())
    with Predictor(tiny, max_pixels=100 * 100) as strict:
        for predictor in (strict, pickle.loads(pickle.dumps(strict))):
            fits, too_large = predictor.predict_many(images)
            assert isinstance(fits, Prediction)
            assert str(too_large) == "image: more than 10,000 pixels"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"threads": "a"}, TypeError, "threads must be an int, got 'a'"),
        ({"threads": True}, TypeError, "threads must be an int, got True"),
        ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
        ({"threads": "2"}, TypeError, "threads must be an int, got '2'"),
        ({"threads": -1}, ValueError, "threads must be at least 1, got -1"),
        ({"threads": 1.5}, TypeError, "threads must be an int, got 1.5"),
        ({"threads": 100_000}, ValueError, "threads must be at most 1024, got 100000"),
        ({"model": b"x" * 10**6}, TypeError, r"^model must be a path .{100,200}$"),
        ({"max_pixels": 1.5}, TypeError, "max_pixels must be an int"),
        ({"max_pixels": -1}, ValueError, "max_pixels must be at least 1"),
        ({"provider": 3}, TypeError, "provider must be a str, got 3"),
        ({"cache": "no"}, TypeError, "cache must be a bool, got 'no'"),
        ({"spin": 1}, TypeError, "spin must be a bool"),
        ({"self_test": "yes"}, TypeError, "self_test must be a bool"),
        ({"model": 3}, TypeError, "model must be a path"),
    ],
)
def test_an_option_of_another_type_is_an_error_that_names_it(
    tiny: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Predictor(**{"model": tiny, **options})


def test_an_integer_of_numpy_is_a_number_of_threads(tiny: Path) -> None:
    with Predictor(tiny, threads=np.int64(2)) as predictor:  # type: ignore[arg-type]
        assert predictor.session.get_session_options().intra_op_num_threads == 2
