"""Runs of MLCommons' LoadGen itself, on a model that waits for a known time.

A busy machine makes every wait longer and none shorter: a latency is held between the wait that
was asked for and the time that the whole run took here.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.tiny import SIDE, tiny_card
from toolchain.benchmarking.scenarios import log
from toolchain.benchmarking.scenarios.loadgen import run_loadgen
from toolchain.benchmarking.scenarios.plan import LoadgenRun, Plan
from toolchain.errors import ModelFileError, RefusedError
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import ModelOutputs, Pixels

pytest.importorskip("mlperf_loadgen", reason="the extra loadgen is not installed")

CALL_S = 0.004
IMAGE_S = 0.001


class WaitingModel:
    """Takes CALL_S for a call, and IMAGE_S for each of its images."""

    def __init__(self, fails_at: int | None = None, batch: int | None = None) -> None:
        self.card: Card = tiny_card(batch=batch)
        self.batches: list[int] = []
        self.fails_at = fails_at

    def run(self, pixels: Pixels) -> ModelOutputs:
        assert pixels.shape[1:] == (SIDE, SIDE, 3)
        self.batches.append(len(pixels))
        if len(self.batches) == self.fails_at:
            raise ModelFileError("model.onnx can't compute")
        time.sleep(CALL_S + IMAGE_S * len(pixels))
        rows = np.zeros((len(pixels), 3), np.float32)
        return ModelOutputs(rows, rows)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for logs, while the user is in another one."""
    (tmp_path / "user").mkdir()
    (tmp_path / "logs").mkdir()
    monkeypatch.chdir(tmp_path / "user")
    return tmp_path / "logs"


def run(folder: Path, model: WaitingModel, plan: Plan) -> LoadgenRun:
    started = time.perf_counter()
    found = run_loadgen(model, plan, folder)
    took_s = time.perf_counter() - started
    if found.latency_ms is not None:
        least_ms = 1000 * (CALL_S + IMAGE_S * min(model.batches))
        assert least_ms <= found.latency_ms <= 1000 * took_s
    assert found.samples_per_s > found.samples / took_s  # opening and reading the log count there
    assert os.listdir(folder.parent / "user") == []  # noqa: PTH208
    assert Path.cwd() == folder.parent / "user"
    return found


def test_single_stream_is_the_latency_of_one_image(folder: Path) -> None:
    model = WaitingModel()
    plan = Plan(scenario="single-stream", seconds=1.0, expected_latency_s=0.002)
    found = run(folder, model, plan)
    assert (found.valid, found.reasons) == (True, [])
    assert found.queries == found.samples == len(model.batches) - 1  # one to warm up
    assert set(model.batches) == {1}
    assert found.latency_ms is not None
    assert found.early_stopping_ms is not None
    assert found.early_stopping_ms >= found.latency_ms
    assert found.samples_per_s <= 200


def test_multi_stream_is_the_latency_of_eight_images(folder: Path) -> None:
    model = WaitingModel()
    plan = Plan(scenario="multi-stream", seconds=0.3, expected_latency_s=0.005, batch_sizes=(4,))
    found = run(folder, model, plan)
    assert found.samples == 8 * found.queries
    assert set(model.batches) == {4}
    assert found.latency_ms is not None
    assert found.latency_ms >= 16  # of both batches, not of one
    assert not found.valid
    [reason] = found.reasons
    assert reason.startswith(f"early stopping needs 662 queries, has {found.queries}; about ")
    assert found.early_stopping_ms is None


def test_offline_is_the_throughput_in_batches(folder: Path) -> None:
    model = WaitingModel()
    plan = Plan(scenario="offline", seconds=0.3, rate_per_s=700, batch_sizes=(8,))
    found = run(folder, model, plan)
    assert (found.queries, found.samples) == (1, sum(model.batches) - 8)
    assert set(model.batches[:-1]) == {8}
    assert found.latency_ms is None
    assert found.samples_per_s <= 667
    assert (found.valid, found.reasons, found.long_enough) == (True, [], True)


def test_offline_with_too_few_images_was_not_long_enough(folder: Path) -> None:
    plan = Plan(scenario="offline", seconds=0.5, rate_per_s=100, batch_sizes=(8,))
    found = run(folder, WaitingModel(), plan)
    assert (found.valid, found.long_enough) == (False, False)
    assert found.reasons == ["its queries were done before 0.5 s"]


def server(rate_per_s: float, *, bound_s: float = 0.05, number: int = 0) -> Plan:
    return Plan(
        scenario="server",
        seconds=0.5,
        rate_per_s=rate_per_s,
        latency_bound_s=bound_s,
        batch_sizes=(1, 4),
        number=number,
    )


def test_a_server_keeps_a_rate_that_it_can_and_lacks_queries(folder: Path) -> None:
    model = WaitingModel()
    found = run(folder, model, server(40, bound_s=5))
    assert found.bound_kept
    assert found.queries == found.samples == pytest.approx(20, abs=12)
    assert found.latency_ms is not None
    [reason] = found.reasons
    assert reason.startswith(f"early stopping needs 459 queries, has {found.queries}; about ")


def test_a_server_that_is_asked_too_often_computes_together_what_waits(folder: Path) -> None:
    model = WaitingModel()
    found = run(folder, model, server(800, bound_s=0.01))
    assert sum(model.batches) == found.samples + 1 + 4
    assert {1, 4} == set(model.batches)
    assert model.batches.count(4) > 50
    assert not found.bound_kept
    assert not found.valid
    assert "p99 is" in found.reasons[0]
    assert ", over 10" in found.reasons[0]


def test_a_file_for_one_batch_size_is_given_as_many_as_it_takes(folder: Path) -> None:
    model = WaitingModel(batch=3)
    found = run(folder, model, server(800, bound_s=0.01))
    assert set(model.batches) <= {1, 2, 3}  # fewer are padded
    assert model.batches.count(3) > 50
    assert sum(model.batches) == found.samples + 3


def test_each_run_of_a_server_has_its_own_times(folder: Path) -> None:
    counts = []
    for number in range(3):
        (folder / str(number)).mkdir()
        counts.append(run_loadgen(WaitingModel(), server(100, number=number), folder / str(number)))
    assert len({(found.queries, found.latency_ms) for found in counts}) == 3


@pytest.mark.parametrize("scenario", ["single-stream", "server"])
def test_what_the_model_raises_is_raised_and_the_run_ends(folder: Path, scenario: str) -> None:
    plan = Plan(scenario=scenario, seconds=0.2, rate_per_s=100)  # type: ignore[arg-type]
    with pytest.raises(ModelFileError, match="can't compute"):
        run_loadgen(WaitingModel(fails_at=5), plan, folder)


def test_settings_that_lie_where_the_user_is_are_not_taken(folder: Path, tmp_path: Path) -> None:
    # LoadGen reads such a file where it runs, and its settings replace those of the caller.
    (tmp_path / "user" / "audit.config").write_text("*.*.min_duration = 3000\n")
    plan = Plan(scenario="single-stream", seconds=0.2, expected_latency_s=0.002)
    found = run_loadgen(WaitingModel(), plan, folder)
    assert found.valid is False  # too few queries for 64
    assert found.queries < 100  # 600 in three seconds


def test_a_log_that_cannot_be_read_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "MARK", "of another version")
    plan = Plan(scenario="single-stream", seconds=0.1, expected_latency_s=0.002)
    with pytest.raises(RefusedError, match=r"LoadGen wrote .* can't be read: KeyError") as caught:
        run_loadgen(WaitingModel(), plan, folder)
    assert "mlcommons-loadgen 6" in str(caught.value.hint)
