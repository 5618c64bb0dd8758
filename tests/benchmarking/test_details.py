"""Stages, cold starts and the limit, on a model of two kilobytes."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import msgspec
import pytest
from PIL import Image

from tests.conftest import Rtl
from tests.runtime import tiny
from toolchain import Predictor
from toolchain.benchmarking import rounds
from toolchain.benchmarking.bench import bench
from toolchain.benchmarking.detail_tables import cold_start_table
from toolchain.benchmarking.details import drawn_image
from toolchain.benchmarking.processes import cold_start, peak, stages
from toolchain.benchmarking.processes.targets import Target
from toolchain.benchmarking.result import Benchmark
from toolchain.errors import ImageError, RefusedError
from toolchain.runtime.card import Weights, encode_card


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """A tiny file and one that resizes by itself, measured in every way."""
    folder = tmp_path_factory.mktemp("details")
    # Its answers differ, since it resizes: so it is of other weights.
    card = tiny.tiny_card("image", weights=Weights(origin="random", sha256="1" * 64))
    models = [
        tiny.write(tiny.tiny_model(), folder / "tiny.onnx"),
        tiny.write(tiny.tiny_model("image", card=encode_card(card)), folder / "image.onnx"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "WARM_UP_S", 0.0)
        patch.setattr(cold_start, "PROCESSES", 2)
        patch.setattr(peak, "SECONDS", 0.05)
        return bench(
            models,
            batch_sizes=(1,),
            threads=(1,),
            seconds=0.1,
            retries=0,
            stages=True,
            cold_start=True,
            limit=True,
        )


def test_stages_of_an_image_add_up_to_the_whole_way(measured: Benchmark) -> None:
    own, resizing = measured.stages
    assert (own.target, resizing.target) == ("tiny.onnx", "image.onnx")
    assert own.resize_ms is not None
    assert resizing.resize_ms is None  # the graph does it
    for row in measured.stages:
        assert row.softmax_ms is not None
        assert row.softmax_ms > 0
        parts = (row.read_ms, row.decode_ms, row.resize_ms, row.inference_ms, row.label_ms)
        assert all(part is None or part >= 0 for part in parts)
        assert row.decode_ms > row.read_ms > 0
        # Medians of ten calls of a fraction of a millisecond: other programs make one several times
        # the other; a stage in another unit makes it a thousand times.
        total = sum(part or 0 for part in parts) + row.softmax_ms
        assert 0.03 < row.end_to_end_ms / total < 30
        assert row.calls >= 10


def test_stages_add_up_to_the_whole_way_in_processor_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs disturb what the clock on the wall shows, and hardly the processor's."""
    clock = SimpleNamespace(perf_counter=time.perf_counter, perf_counter_ns=time.process_time_ns)
    monkeypatch.setattr(stages, "time", clock)
    model = tiny.write(tiny.tiny_model(), tmp_path / "tiny.onnx")
    image = drawn_image(tmp_path / "image.jpg")
    with Predictor(model, threads=1, cache=False) as predictor:
        found = stages.measure_stages(predictor, model, image, 0.3, None)
    parts = (found.read, found.decode, found.resize, found.network, found.label)
    assert 0.3 < median(found.end_to_end) / sum(median(part) for part in parts) < 3


def test_a_fresh_process_takes_its_time_in_steps_with_each_cache(measured: Benchmark) -> None:
    assert [(c.target, c.cache) for c in measured.cold_starts] == [
        ("tiny.onnx", "cold"),
        ("tiny.onnx", "warm"),
        ("image.onnx", "cold"),
        ("image.onnx", "warm"),
    ]
    for row in measured.cold_starts:
        low, high = row.total_range_ms
        assert 0 < low <= row.total_ms <= high
        assert min(row.interpreter_ms, row.import_ms, row.open_ms, row.first_label_ms) > 0
        assert row.import_ms + row.open_ms + row.first_label_ms < high
        assert row.peak_memory_mb is None or 20 < row.peak_memory_mb < 300


def test_cold_starts_with_several_threads_are_told_apart(measured: Benchmark) -> None:
    start = measured.cold_starts[0]
    one = str(cold_start_table([start]))
    assert "thr" not in one
    others = [start, msgspec.structs.replace(start, spin=True, provider="openvino")]
    several = str(cold_start_table(others))
    for words in ("thr", "tiny.onnx cpu", "tiny.onnx openvino", f"{start.threads} spin"):
        assert words in several


def test_the_share_of_the_peak_follows_from_the_operations(measured: Benchmark) -> None:
    first = measured.limits[0]
    assert (first.target, first.flops_per_image, first.operations) == ("tiny.onnx", 18, "float32")
    speed = measured.results[0].images_per_s
    assert first.share == pytest.approx(18 * speed / first.peak_per_s)
    assert 1e8 < first.peak_per_s < 1e14
    shown = repr(measured)
    for title in ("One image, from its file", "Cold start: medians of 2", "The limit: products"):
        assert title in shown


def test_details_are_in_the_json(measured: Benchmark) -> None:
    found = json.loads(msgspec.json.encode(measured))
    assert found["stages"][0].keys() >= {"read_ms", "decode_ms", "softmax_ms", "end_to_end_ms"}
    assert found["cold_starts"][0].keys() >= {"import_ms", "open_ms", "first_label_ms", "total_ms"}
    assert found["limits"][0].keys() >= {"flops_per_image", "peak_per_s", "share"}


def test_the_product_of_small_numbers_is_right() -> None:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(peak.product_model(3))
    [product] = session.run(None, {"a": np.arange(9, dtype=np.uint8).reshape(3, 3)})
    assert product.tolist() == [[3] * 3, [12] * 3, [21] * 3]


def test_an_image_that_cannot_be_read_is_refused_before_anything_is_measured(
    tmp_path: Path,
) -> None:
    (tmp_path / "no.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"no\.jpg"):
        bench([tmp_path / "not there.onnx"], stages=True, image=tmp_path / "no.jpg")


def test_the_drawn_image_is_a_jpeg_of_a_photographs_size(tmp_path: Path) -> None:
    file = drawn_image(tmp_path / "drawn.jpg")
    with Image.open(file) as image:
        assert (image.format, image.size) == ("JPEG", (640, 480))
    assert 50_000 < file.stat().st_size < 300_000


def test_a_process_that_does_not_start_says_why(tmp_path: Path) -> None:
    file = tiny.write(tiny.tiny_model(), tmp_path / "tiny.onnx")
    target = Target("tiny.onnx", file, False, "cpu", 1)
    with pytest.raises(RefusedError, match=r"tiny\.onnx does not start .*gone\.jpg"):
        cold_start.measure_cold_start(target, tmp_path / "gone.jpg", "cold")


def test_the_picture_and_require_valid(rtl_here: Rtl, tmp_path: Path) -> None:
    tiny.write(tiny.tiny_model(), tmp_path / "tiny.onnx")
    words = ["bench", "tiny.onnx", "--seconds", 0.1, "--threads", 1, "--retries", 0, "-q"]
    words += ["--batch-size", 1, "--batch-size", 2, "--gap", "50ms"]
    done = rtl_here(*words, "--plot", "bench.png", "-o", "bench.json", "--require-valid")
    with Image.open(tmp_path / "bench.png") as image:
        assert image.format == "PNG"
        assert image.width > 1000
    verdict = json.loads((tmp_path / "bench.json").read_text())["verdict"]
    assert done.returncode == {"VALID": 0, "INVALID": 10}[verdict], done.stderr
    assert ("cases are INVALID: tiny.onnx, batch" in done.stderr) == (verdict == "INVALID")


def test_a_picture_that_cannot_be_written_is_refused_first(rtl_here: Rtl, tmp_path: Path) -> None:
    done = rtl_here("bench", "not there.onnx", "--plot", "bench.pdf")
    assert (done.returncode, "drawn as PNG" in done.stderr) == (3, True)
    (tmp_path / "folder.png").mkdir()
    done = rtl_here("bench", "not there.onnx", "--plot", "folder.png")
    assert (done.returncode, "is a folder" in done.stderr) == (3, True)
    shutil.rmtree(tmp_path / "folder.png")
