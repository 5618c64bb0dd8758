"""Several processes that compute the same features, and processes that are killed meanwhile."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path

from tests.training.features.kept import Computed, entry_of
from tests.training.sandbox import (
    HEAD,
    PATIENCE_S,
    Sandbox,
    at_call,
    killed_at,
    meet,
    outcome,
    rows_kept_at_once,
)
from toolchain.training.features.store import features_folder

WAITED = "another run computes the same features; waiting for it"


def test_a_killed_run_keeps_the_rows_that_it_finished(
    stripes: Path, tmp_path: Path, computed: Computed
) -> None:
    sandbox = Sandbox(tmp_path)
    faults = [
        rows_kept_at_once,
        killed_at("toolchain.training.features.store:FeatureWriter.put", 31),
    ]
    assert sandbox.finetune(stripes, *HEAD, faults=faults, output="killed").status == -9
    assert entry_of("clean").rows == 30
    assert sandbox.resume("killed").status == 0
    assert entry_of("clean").rows == 72
    (file,) = entry_of("clean").folder.glob("rows-*.f16")
    assert file.stat().st_size == 72 * 512 * 2, "each row was written once"
    shutil.rmtree(features_folder())
    assert sandbox.finetune(stripes, *HEAD, output="whole").status == 0
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_two_processes_compute_the_same_features_once(stripes: Path, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    together = partial(
        at_call, "toolchain.training.features.store:Entry.writing", 1, partial(meet, 2)
    )
    runs = [
        sandbox.start("finetune", stripes, *HEAD, "-o", name, faults=[together, slow_rows])
        for name in ("one", "other")
    ]
    ended = [running.ended() for running in runs]
    assert [one.status for one in ended] == [0, 0]
    assert [WAITED in one.output for one in ended].count(True) == 1
    (file,) = entry_of("clean").folder.glob("rows-*.f16")
    assert file.stat().st_size == 72 * 512 * 2, "each row was written once"
    assert outcome(tmp_path / "one") == outcome(tmp_path / "other")


def slow_rows() -> None:
    """Delay the first row until the other process waits for those that are written."""
    at_call("toolchain.training.features.store:FeatureWriter.put", 1, other_waits)


def other_waits() -> None:
    ends = time.monotonic() + PATIENCE_S
    while not any(WAITED in log.read_text() for log in Path().glob("log-*")):
        assert time.monotonic() < ends, "the other process did not wait"
        time.sleep(0.01)


def test_a_run_that_writes_features_survives_clearing_the_cache(
    stripes: Path, tmp_path: Path
) -> None:
    sandbox = Sandbox(tmp_path)
    put = "toolchain.training.features.store:FeatureWriter.put"
    ended = sandbox.finetune(
        stripes, *HEAD, faults=[partial(at_call, put, 20, clear)], output="run"
    )
    assert ended.status == 0, ended.output


def test_a_run_that_trains_from_features_survives_clearing_the_cache(
    stripes: Path, tmp_path: Path
) -> None:
    sandbox = Sandbox(tmp_path)
    step = "toolchain.training.loop:Stepper.update"
    ended = sandbox.finetune(
        stripes, *HEAD, faults=[partial(at_call, step, 4, clear)], output="run"
    )
    assert ended.status == 0, ended.output
    assert len(outcome(tmp_path / "run").metrics) == 4  # three epochs and the summary


def clear() -> None:
    from toolchain.training.features import store

    assert store.clear().bytes > 0
