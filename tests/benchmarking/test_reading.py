"""The JSON of `rtl bench`, of this rtl and of older ones, is read by one function."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from tests.benchmarking.test_comparison import OLDEST, benchmark, case, rounds_of
from toolchain.benchmarking.comparison import compared
from toolchain.benchmarking.reading import read_benchmark
from toolchain.files import write_json


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    made = benchmark(case(rounds_of(np.random.default_rng(0))))
    write_json(tmp_path / "new.json", made)
    assert msgspec.to_builtins(read_benchmark(tmp_path / "new.json")) == msgspec.to_builtins(made)


def test_a_benchmark_of_version_3_can_be_compared(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    now = benchmark(case(rounds_of(generator)))
    old = msgspec.to_builtins(benchmark(case(rounds_of(generator))))
    newer = {"reasons", "attempts", "lacking_calls", "mean_ms", "min_ms", "others_cores"}
    rows = [{k: v for k, v in row.items() if k not in newer} for row in old["results"]]
    old |= {"version": 3, "verdict": "stable", "models": [{"target": "as it was then"}]}
    old["results"] = [{**row, "verdict": "stable"} for row in rows]
    write_json(tmp_path / "old.json", old)
    before = read_benchmark(tmp_path / "old.json")
    assert (before.version, before.verdict, before.results[0].verdict) == (4, "VALID", "VALID")
    assert compared(before, now, "old.json").cases[0].verdict == "cannot tell"


def test_the_oldest_has_a_verdict_with_its_reason_and_marks_what_lacks_calls(
    tmp_path: Path,
) -> None:
    write_json(tmp_path / "old.json", OLDEST)
    row = read_benchmark(tmp_path / "old.json").results[0]
    assert (row.verdict, row.reasons[0].kind) == ("INVALID", "unstable")
    assert row.lacking_calls == ["p99 needs 459 calls, has 200"]
    assert (row.spin, row.mean_ms, row.samples) == (False, None, None)
    assert "~9.00" in repr(read_benchmark(tmp_path / "old.json"))
