"""Two benchmarks beside each other: luck is not called a change, and a change is found."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.conftest import Rtl
from tests.runtime import tiny
from toolchain.benchmarking.bench import bench
from toolchain.benchmarking.bounds import require_not_slower
from toolchain.benchmarking.comparison import (
    comparable_benchmark,
    compared,
    ratio_interval,
)
from toolchain.benchmarking.figures.samples import Samples, decode_samples, encode_samples
from toolchain.benchmarking.processes.cold_start import ColdStart
from toolchain.benchmarking.processes.peak import Peak
from toolchain.benchmarking.reading import read_benchmark
from toolchain.benchmarking.result import Benchmark
from toolchain.benchmarking.rows import PauseResult, TargetResult
from toolchain.benchmarking.tables import verdict_table
from toolchain.errors import DataError, RefusedError
from toolchain.files import write_json
from toolchain.machine import Machine, this_machine

MACHINE = Machine("Processor X", 2, ("avx2",), 8.0, "Linux x86_64", "3.11.7", {"numpy": "2.0"})


OLDEST = {
    "verdict": "noisy",
    "machine": msgspec.to_builtins(MACHINE),
    "results": [
        {
            "target": "model.onnx",
            "model": "export/model.onnx",
            "provider": "cpu",
            "threads": 2,
            "batch_size": 1,
            "verdict": "noisy",
            "calls": 200,
            "p50_ms": 7.25,
            "p90_ms": 8.0,
            "p99_ms": 9.0,
            "images_per_s": 138.0,
        }
    ],
}
"""A benchmark as the first versions wrote it."""


def rounds_of(generator: np.random.Generator, factor: float = 1.0) -> list[list[float]]:
    """Return latencies as quiet machines have them: each round drifts by 1 %, calls have a tail."""
    return [
        [float(factor * 10 * drift * (1 + 0.02 * tail)) for tail in generator.exponential(size=60)]
        for drift in np.exp(0.01 * generator.standard_normal(5))
    ]


COLD_START = ColdStart(
    target="model.onnx",
    provider="cpu",
    threads=1,
    cache="warm",
    processes=3,
    interpreter_ms=20.0,
    import_ms=100.0,
    open_ms=50.0,
    first_label_ms=30.0,
    total_ms=200.0,
    total_range_ms=(190.0, 210.0),
    peak_memory_mb=None,
)


def case(rounds: list[list[float]], **changed: Any) -> TargetResult:
    values = sorted(value for part in rounds for value in part)
    p50 = values[len(values) // 2]
    figures: dict[str, Any] = dict.fromkeys(("p50_ms", "p90_ms", "p99_ms"), p50)
    figures |= {f"{name}_interval_ms": (p50, p50) for name in ("p50", "p90", "p99")}
    known = {
        "target": "model.onnx",
        "model": "model.onnx",
        "provider": "cpu",
        "threads": 1,
        "spin": False,
        "batch_size": 1,
        "verdict": "VALID",
        "calls": len(values),
        "images_per_s": 100.0,
        "ratio_to_first": 1.0,
        "load_ms": 1.0,
        "peak_memory_mb": None,
        "samples": encode_samples(rounds),
    }
    return TargetResult(**{**figures, **known, **changed})


def benchmark(*cases: TargetResult, **changed: Any) -> Benchmark:
    known: dict[str, Any] = {
        "verdict": "VALID",
        "machine": MACHINE,
        "seconds_per_case": 3.0,
        "busy": 0,
        "models": [],
        "left_out": [],
        "results": list(cases),
        "pauses": [],
    }
    return Benchmark(**{**known, **changed})


def verdicts(factor: float) -> list[str]:
    """Return the verdicts of 200 pairs of benchmarks, the second slower by a factor."""
    generator = np.random.default_rng(0)
    return [
        compared(
            benchmark(case(rounds_of(generator))),
            benchmark(case(rounds_of(generator, factor))),
            "old.json",
        )
        .cases[0]
        .verdict
        for _ in range(200)
    ]


def test_the_same_file_twice_is_hardly_ever_called_a_change() -> None:
    assert verdicts(1.0).count("cannot tell") >= 195


def test_ten_per_cent_are_found() -> None:
    assert verdicts(1.1).count("slower") >= 190
    assert verdicts(1 / 1.1).count("faster") >= 190


def test_what_the_rounds_of_one_benchmark_differ_by_is_no_difference_of_two() -> None:
    steady = case([[9.0], [9.2], [9.1], [9.3], [9.0]])
    unsteady = case([[11.0], [11.2], [11.1], [11.3], [13.86]])
    beside = compared(benchmark(steady), benchmark(unsteady), "old.json")
    [found] = beside.cases
    assert found.ratio_interval[0] > 1.1
    assert found.rounds_spread == pytest.approx(1.26)
    assert found.verdict == "cannot tell"
    assert "the rounds of a case differ by up to × 1.26" in repr(beside)
    twice = case([[22.0], [22.4], [22.2], [22.6], [27.7]])
    assert compared(benchmark(steady), benchmark(twice), "old.json").cases[0].verdict == "slower"
    assert compared(benchmark(twice), benchmark(steady), "old.json").cases[0].verdict == "faster"


def test_the_interval_covers_the_true_ratio_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        low, high = ratio_interval(rounds_of(generator), rounds_of(generator, 1.05))
        covered += low <= 1.05 <= high
    assert 0.93 <= covered / 1000 <= 0.975


def test_one_round_bounds_nothing() -> None:
    assert ratio_interval([[1.0, 2.0]], [[1.0], [2.0]]) == (0.0, math.inf)


def test_cases_of_one_benchmark_only_and_other_versions_are_named() -> None:
    generator = np.random.default_rng(0)
    rounds = rounds_of(generator)
    newer = msgspec.structs.replace(MACHINE, versions={"numpy": "2.1"})
    found = compared(
        benchmark(case(rounds), case(rounds, batch_size=8)),
        benchmark(case(rounds), case(rounds, threads=2), machine=newer),
        "old.json",
    )
    assert [c.verdict for c in found.cases] == ["cannot tell"]
    assert found.only_before == ["model.onnx, batch 8, 1 thread"]
    assert found.only_now == ["model.onnx, batch 1, 2 threads"]
    assert "numpy 2.0 → 2.1" in repr(found)


def test_cases_in_a_line_are_told_apart() -> None:
    rounds = rounds_of(np.random.default_rng(0))
    now = [case(rounds), case(rounds, threads=2), case(rounds, threads=2, spin=True)]
    found = compared(benchmark(case(rounds)), benchmark(*now), "old.json")
    line = "model.onnx, batch 1, 2 threads; model.onnx, batch 1, 2 threads, spin"
    assert f"measured now only: {line}" in repr(found)
    shown = repr(verdict_table(now))
    assert "model.onnx 2 thr spin" in shown


def after_pause(rounds: list[list[float]], **changed: Any) -> PauseResult:
    known = {
        "target": "model.onnx",
        "provider": "cpu",
        "threads": 1,
        "batch_size": 1,
        "pause_s": 1.0,
        "keep_warm": False,
        "calls": 10,
        "p50_ms": 10.0,
        "p50_interval_ms": (9.0, 11.0),
        "ratio_to_back_to_back": 1.5,
        "samples": encode_samples(rounds),
    }
    return PauseResult(**{**known, **changed})


PAUSED = [[10.0, 10.2], [10.1, 10.3], [10.2, 10.1], [10.0, 10.4], [10.3, 10.2]]
"""Five rounds of two calls."""


def test_calls_after_pauses_are_compared_as_cases_of_their_own() -> None:
    rounds = rounds_of(np.random.default_rng(0))
    slower = [[2 * value for value in part] for part in PAUSED]
    before = benchmark(
        case(rounds), pauses=[after_pause(PAUSED), after_pause(PAUSED, keep_warm=True)]
    )
    now = benchmark(case(rounds), pauses=[after_pause(slower), after_pause(PAUSED, keep_warm=True)])
    found = compared(before, now, "old.json")
    assert [(c.pause_s, c.keep_warm, c.verdict) for c in found.cases] == [
        (None, False, "cannot tell"),
        (1.0, False, "slower"),
        (1.0, True, "cannot tell"),
    ]
    assert found.cases[1].ratio == pytest.approx(2)
    assert found.not_compared == found.only_now == found.only_before == []
    shown = str(found.blocks()[0])
    assert "pause" in shown
    assert "1 s warm" in shown
    with pytest.raises(
        RefusedError, match=r"1 of 3 cases .* at batch 1 after 1 s takes 2\.00 times"
    ):
        require_not_slower(msgspec.structs.replace(now, comparison=found), 0.05)


def test_a_pause_of_one_benchmark_only_is_named() -> None:
    rounds = rounds_of(np.random.default_rng(0))
    before = benchmark(case(rounds), pauses=[after_pause(PAUSED)])
    now = benchmark(case(rounds), pauses=[after_pause(PAUSED, pause_s=0.2, keep_warm=True)])
    found = compared(before, now, "old.json")
    assert found.only_before == ["model.onnx, batch 1, 1 thread, after 1 s"]
    assert found.only_now == ["model.onnx, batch 1, 1 thread, after 0.2 s kept warm"]


def test_pauses_of_a_benchmark_that_kept_no_single_calls_are_not_compared() -> None:
    rounds = rounds_of(np.random.default_rng(0))
    before = benchmark(case(rounds), pauses=[after_pause(PAUSED, samples=None)])
    found = compared(before, benchmark(case(rounds), pauses=[after_pause(PAUSED)]), "old.json")
    assert [c.pause_s for c in found.cases] == [None]
    assert found.not_compared == ["calls after a pause"]
    assert found.only_now == []


def test_damaged_samples_of_a_pause_are_found_before_anything_is_measured(tmp_path: Path) -> None:
    damaged = after_pause(PAUSED, samples=Samples(round_calls=(3,), data="eJw="))
    rounds = rounds_of(np.random.default_rng(0))
    write_json(tmp_path / "old.json", benchmark(case(rounds), pauses=[damaged]))
    with pytest.raises(DataError, match="is damaged: samples"):
        comparable_benchmark(tmp_path / "old.json")


def test_providers_are_told_apart() -> None:
    rounds = rounds_of(np.random.default_rng(0))
    both = benchmark(case(rounds), case(rounds, provider="openvino"))
    shown = str(compared(both, both, "old.json").blocks()[0])
    assert "model.onnx cpu" in shown
    assert "model.onnx openvino" in shown


def test_what_no_comparison_is_made_of_is_named() -> None:
    rounds = rounds_of(np.random.default_rng(0))
    latencies = benchmark(case(rounds))
    assert compared(latencies, latencies, "old.json").not_compared == []
    found = compared(latencies, benchmark(case(rounds), cold_starts=[COLD_START]), "old.json")
    assert "not compared: cold starts" in repr(found)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"machine": msgspec.structs.replace(MACHINE, cores=8)}, "on another machine .*cores"),
        ({"machine": msgspec.structs.replace(MACHINE, processor="Y")}, "on another machine"),
        ({"busy": 2}, "beside 2 busy processes"),
    ],
)
def test_what_was_measured_elsewhere_is_refused(changed: dict[str, Any], message: str) -> None:
    row = case(rounds_of(np.random.default_rng(0)))
    with pytest.raises(RefusedError, match=message):
        compared(benchmark(row, **changed), benchmark(row), "old.json")


def test_another_machine_is_compared_by_its_speed_where_that_is_asked_for() -> None:
    generator = np.random.default_rng(0)
    other = msgspec.structs.replace(MACHINE, processor="Y")
    # Twice as fast at products of matrices, and the model took half of the time: nothing changed.
    there = benchmark(
        case(rounds_of(generator, 0.5)),
        machine=other,
        peaks=[Peak(threads=1, sgemm_flops_per_s=2e9)],
    )
    here = benchmark(case(rounds_of(generator)), peaks=[Peak(threads=1, sgemm_flops_per_s=1e9)])
    found = compared(there, here, "old.json", rescale=True)
    [row] = found.cases
    assert (row.verdict, row.rescaled_by) == ("cannot tell", 2.0)
    assert row.before_ms == pytest.approx(10, rel=0.05)  # 5 ms there
    assert row.ratio == pytest.approx(row.now_ms / row.before_ms)
    shown = repr(found)
    assert "≈: measured on another machine, Y, 2 cores" in shown
    assert f"≈{row.before_ms:.1f}" in shown
    same = compared(here, here, "old.json", rescale=True)
    assert (same.other_machine, same.cases[0].rescaled_by) == (None, None)


def test_a_machine_whose_speed_is_not_known_cannot_be_rescaled() -> None:
    row = case(rounds_of(np.random.default_rng(0)))
    other = benchmark(row, machine=msgspec.structs.replace(MACHINE, processor="Y"))
    with pytest.raises(RefusedError, match="did not measure its machine"):
        compared(other, benchmark(row), "old.json", rescale=True)


def test_no_common_case_is_an_error() -> None:
    row = case(rounds_of(np.random.default_rng(0)))
    others = [msgspec.structs.replace(row, target="b", threads=n) for n in range(1, 6)]
    with pytest.raises(DataError, match="no case in common") as raised:
        compared(benchmark(row), benchmark(*others), "old.json")
    assert "There: model.onnx, batch 1, 1 thread. Here: b, batch 1, 1 thread; b, " in str(
        raised.value
    )
    assert str(raised.value).endswith("; b, batch 1, 3 threads; 2 more")


def test_what_tells_cases_apart_is_named() -> None:
    row = case([[1.0]], provider="openvino", spin=True)
    assert row.described == "model.onnx on openvino, batch 1, 1 thread, spin"


def test_the_columns_give_the_ratio() -> None:
    found = compared(benchmark(case([[0.051]])), benchmark(case([[0.064]])), "old.json")
    shown = str(found.blocks()[0])
    assert found.cases[0].ratio == pytest.approx(1.25, abs=0.01)
    assert "0.051" in shown
    assert "0.064" in shown


@pytest.mark.parametrize("wrong", ["no common case", "damaged samples"])
def test_what_can_not_be_compared_is_known_before_anything_is_measured(
    rtl_here: Rtl, tmp_path: Path, wrong: str
) -> None:
    model = tiny.write(tiny.tiny_model(), tmp_path / "tiny.onnx")
    row = case(rounds_of(np.random.default_rng(0)), target="tiny.onnx", batch_size=3)
    if wrong == "no common case":
        row = msgspec.structs.replace(row, batch_size=2)
    else:
        row = msgspec.structs.replace(row, samples=Samples(round_calls=(3,), data="eJw="))
    write_json(tmp_path / "old.json", benchmark(row, machine=this_machine()))
    words = ("bench", model, "--batch-size", 3, "--threads", 1, "--seconds", 0.1, "--retries", 0)
    done = rtl_here(*words, "--compare", "old.json", "-o", "new.json")
    assert done.returncode == 3
    said = "has no case in common" if wrong == "no common case" else "is damaged: samples"
    assert f"error: old.json {said}" in done.stderr
    assert not done.stdout
    assert not (tmp_path / "new.json").exists()


def test_another_machine_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    write_json(old, benchmark(case(rounds_of(np.random.default_rng(0)))))
    with pytest.raises(RefusedError, match="on another machine"):
        bench([tmp_path / "not there.onnx"], compare=old)


def test_samples_come_back_as_they_were() -> None:
    rounds = rounds_of(np.random.default_rng(0))
    found = decode_samples(encode_samples(rounds))
    assert [len(part) for part in found] == [60] * 5
    assert np.allclose(found, rounds, rtol=1e-6)


@pytest.mark.parametrize(
    "samples",
    [
        Samples(round_calls=(3,), data="eJw="),
        Samples(round_calls=(1,), data="####"),
        Samples(round_calls=(0, 2), data=encode_samples([[1.0, 2.0]]).data),
        encode_samples([[1.0, math.nan]]),
        encode_samples([[1.0, -1.0]]),
        Samples(round_calls=(2,), data=encode_samples([[1.0] * 1_000_000]).data),
    ],
)
def test_damaged_samples_are_an_error(samples: Samples) -> None:
    with pytest.raises(ValueError, match=r"samples|base64|decompress|Incorrect|padding"):
        decode_samples(samples)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no json", "no result of rtl bench"),
        (b"{}", "no result of rtl bench"),
        (b"[]", "no result of rtl bench"),
        (b"\xff", "no result of rtl bench"),
        (b'{"version": 5}', "version 5 is not known"),
        (b'{"version": 4, "verdict": "VALID"}', "no result of rtl bench"),
        (msgspec.json.encode({**OLDEST, "version": 3}), "kept no single latencies"),
        (msgspec.json.encode(OLDEST), "kept no single latencies"),
        (None, "can't be read: no such file"),
    ],
)
def test_what_is_no_benchmark_is_refused_before_anything_is_measured(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "old.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        comparable_benchmark(file)


def test_a_planted_slowdown_is_exit_status_10_and_the_json_is_there(
    model: Path, rtl_here: Rtl, tmp_path: Path
) -> None:
    shutil.copy(model, tmp_path / "model.onnx")
    words = [
        "bench",
        "model.onnx",
        "--batch-size",
        1,
        "--threads",
        1,
        "--seconds",
        0.3,
        "--retries",
        0,
    ]
    words += ["--quiet"]
    assert rtl_here(*words, "-o", "old.json").returncode == 0
    old = read_benchmark(tmp_path / "old.json")
    samples = old.results[0].samples
    assert samples is not None
    # As if the file had been a hundred times faster before.
    rounds = [[x / 100 for x in part] for part in decode_samples(samples)]
    faster = msgspec.structs.replace(old, results=[case(rounds)])
    (tmp_path / "old.json").write_bytes(msgspec.json.encode(faster))
    done = rtl_here(
        *words, "--compare", "old.json", "--fail-if-slower", "5%", "-o", "new.json", "--markdown"
    )
    assert done.returncode == 10, done.stderr
    assert "1 of 1 cases slower by 5% or more than in old.json: model.onnx" in done.stderr
    assert "| model | batch |" in done.stdout
    written = json.loads((tmp_path / "new.json").read_text())
    assert written["comparison"]["cases"][0]["verdict"] == "slower"
    result = read_benchmark(tmp_path / "new.json")
    require_not_slower(result, 1e9)  # slower, and not by so much


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fail-if-slower", "5%"], "--fail-if-slower needs --compare"),
        (["--rescale"], "--rescale needs --compare"),
        (["--gap", "5 apples"], "no length of time"),
        (["--compare", "x.json", "--fail-if-slower", "much"], "per cent"),
        (["--markdown", "--json"], "two forms"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(
    words: list[str], message: str, rtl_here: Rtl
) -> None:
    done = rtl_here("bench", "model.onnx", *words)
    assert done.returncode == 2
    assert message in done.stderr
