"""Many images at once: results in order, bounded reading ahead, and no thread left after a stop."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.runtime.tiny import SIDE, tiny_model, write
from toolchain import Predictor
from toolchain.errors import ImageError
from toolchain.runtime import autotune, many
from toolchain.runtime.autotune import fastest
from toolchain.runtime.prediction import Prediction
from toolchain.runtime.stream import BATCHES_PER_WORKER, MAX_BYTES_UNDER_WAY, in_order

WORKERS = 3


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    """A model whose class is the colour of the image: red, green or blue."""
    path = write(tiny_model(), tmp_path_factory.mktemp("tiny") / "tiny.onnx")
    with Predictor(path) as opened:
        yield opened


def flat(number: int) -> np.ndarray:
    """An image of one colour, whose strongest channel is `number` modulo three."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[:, :, number % 3] = 100 + number % 100
    return image


def our_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("rtl-predict")]


def test_results_are_in_order_although_the_first_take_longest() -> None:
    def slow_at_first(batch: Iterable[int]) -> list[int]:
        numbers = list(batch)
        time.sleep(0.02 if 0 in numbers else 0)
        return [-number for number in numbers]

    found = list(in_order(slow_at_first, range(50), batch_size=4, workers=WORKERS))
    assert found == [-number for number in range(50)]


def test_results_are_in_order_across_the_change_of_the_session(predictor: Predictor) -> None:
    numbers = range(3 * many.UNMEASURED_IMAGES + 5)
    results = list(predictor.predict_many((flat(n) for n in numbers), workers=2))
    assert [r.label for r in results if isinstance(r, Prediction)] == [
        predictor.classes[n % 3] for n in numbers
    ]


@pytest.mark.parametrize("chosen", [0, 1], ids=["single-threaded", "own"])
def test_both_sessions_return_the_same_logits(
    model: Path, stripes: Path, monkeypatch: pytest.MonkeyPatch, chosen: int
) -> None:
    monkeypatch.setattr(many, "UNMEASURED_IMAGES", 2)
    monkeypatch.setattr(autotune, "fastest", lambda functions, workers: chosen)
    images = sorted((stripes / "val").rglob("*.jpg"))[::4]
    with Predictor(model) as opened:
        for path, result in zip(images, opened.predict_many(images, workers=2), strict=True):
            assert isinstance(result, Prediction)
            np.testing.assert_allclose(result.logits, opened(path).logits, rtol=0, atol=1e-4)
        assert opened.single_threaded == (chosen == 0)


def test_a_predictor_is_not_single_threaded_before_it_has_measured(predictor: Predictor) -> None:
    with Predictor(predictor.model) as opened:
        list(opened.predict_many([flat(0)] * 3))
        assert not opened.single_threaded


def test_items_are_taken_at_most_some_batches_ahead(predictor: Predictor) -> None:
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield flat(taken)

    results = predictor.predict_many(endless(), batch_size=4, workers=2)
    for given in range(1, 400):
        next(results)
        assert taken - given <= 4 * (2 * BATCHES_PER_WORKER + 1)
    results.close()


def test_fewer_large_items_are_taken_ahead() -> None:
    taken = 0

    def large() -> Iterator[bytes]:
        nonlocal taken
        while taken < 40:
            taken += 1
            yield bytes(MAX_BYTES_UNDER_WAY // 10)

    def sizes(batch: Iterable[bytes]) -> list[int]:
        return [len(data) for data in batch]

    for given, _ in enumerate(in_order(sizes, large(), batch_size=8, workers=2), start=1):
        assert taken - given <= 10  # of 32 that may be taken where they are small


def test_few_images_are_shared_among_the_workers() -> None:
    """Six items do not all go to one worker, although they would fit into its batch."""
    meeting = threading.Barrier(2)

    def work(batch: Iterable[int]) -> list[int]:
        done = []
        for number in batch:
            meeting.wait(timeout=20)  # fails unless two are processed at the same time
            done.append(number)
        return done

    assert list(in_order(work, range(6), batch_size=8, workers=2)) == list(range(6))


def test_error_of_the_items_comes_after_the_results_of_those_before_it(
    predictor: Predictor,
) -> None:
    def broken_list() -> Iterator[np.ndarray]:
        yield from (flat(n) for n in range(13))
        raise OSError("the list broke off")

    found: list[object] = []
    with pytest.raises(OSError, match="broke off"):
        found.extend(iter_into(found, predictor.predict_many(broken_list(), batch_size=4)))
    assert len(found) == 13
    assert our_threads() == []


def iter_into(found: list[object], results: Iterable[object]) -> list[object]:
    """Append results one by one, so that those before an error are kept."""
    for result in results:
        found.append(result)
    return []


def test_error_of_the_work_is_raised_in_place_of_its_result() -> None:
    def fails_at_nine(batch: Iterable[int]) -> list[object]:
        numbers: list[object] = list(batch)
        if 9 in numbers:
            raise ValueError("nine")
        return numbers

    found: list[object] = []
    with pytest.raises(ValueError, match="nine"):
        iter_into(found, in_order(fails_at_nine, range(100), batch_size=1, workers=WORKERS))
    assert found == list(range(9))
    assert our_threads() == []


def test_closing_early_stops_the_workers_after_their_current_item() -> None:
    seen: list[int] = []

    def slow(batch: Iterable[int]) -> list[int]:
        done = []
        for number in batch:
            time.sleep(0.01)
            seen.append(number)
            done.append(number)
        return done

    results = in_order(slow, range(10_000), batch_size=10, workers=2)
    assert isinstance(results, Generator)
    next(results)
    before = len(seen)
    results.close()
    assert our_threads() == []
    assert len(seen) - before <= 4  # without a stop the rest of the batches: about 30


def test_leaving_the_loop_leaves_no_thread(predictor: Predictor) -> None:
    for number, _ in enumerate(predictor.predict_many(flat(n) for n in range(1000))):
        if number == 70:
            break
    assert our_threads() == []


def test_every_source_of_a_file_returns_the_same_prediction(
    model: Path, stripes: Path, tmp_path: Path
) -> None:
    """Its EXIF orientation is applied to a single image and in a list."""
    with Image.open(stripes / "val" / "down" / "00.jpg") as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    path = tmp_path / "turned.jpg"
    data = path.read_bytes()
    with Predictor(model) as opened, path.open("rb") as file:
        expected = opened(path)
        assert expected.label == "across"  # with its EXIF orientation applied
        sources: list[Any] = [str(path), path, data, io.BytesIO(data), file]
        for result in opened.predict_many(sources, workers=2):
            assert isinstance(result, Prediction)
            np.testing.assert_allclose(result.logits, expected.logits, rtol=0, atol=1e-4)


def test_errors_of_unreadable_images_are_in_the_place_of_their_results(
    predictor: Predictor,
) -> None:
    images = [b"bad" if n % 10 == 3 else flat(n) for n in range(100)]
    results = list(predictor.predict_many(images, workers=WORKERS))
    assert [n for n, result in enumerate(results) if isinstance(result, ImageError)] == list(
        range(3, 100, 10)
    )


@pytest.mark.parametrize("workers", [0, -2])
def test_less_than_one_worker_is_refused_at_the_call(predictor: Predictor, workers: int) -> None:
    with pytest.raises(ValueError, match="workers must be at least 1"):
        predictor.predict_many([], workers=workers)


def test_predict_many_of_a_closed_predictor_raises(model: Path) -> None:
    opened = Predictor(model)
    results = opened.predict_many([np.zeros((9, 9, 3), np.uint8)] * 3, batch_size=1)
    opened.close()
    with pytest.raises(ValueError, match="closed"):
        list(results)


def test_the_faster_function_is_found() -> None:
    functions = [lambda: time.sleep(0.03), lambda: None]
    assert fastest(functions, workers=2) == 1
    assert fastest(functions[::-1], workers=2) == 0
