"""Files beside another model that is measured in turn with them."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from tests.conftest import Rtl
from tests.runtime import tiny
from toolchain.benchmarking.bench import bench
from toolchain.benchmarking.chosen import chosen_targets
from toolchain.benchmarking.figures.case_name import CaseKey
from toolchain.benchmarking.figures.samples import decode_samples
from toolchain.benchmarking.in_turn import (
    FEWEST_PAIRS,
    Pair,
    calls_in_turn,
    case_in_turn,
    pairs_of,
    reference_model,
)
from toolchain.benchmarking.processes.targets import Target, TargetProcess
from toolchain.benchmarking.processes.worker import Measured
from toolchain.benchmarking.result import Benchmark
from toolchain.errors import DataError, SettingsError


class Clocked:
    """Stands for the process of a target on a machine whose speed changes from call to call."""

    def __init__(self, name: str, own_ms: float, generator: np.random.Generator) -> None:
        self.own_ms, self.generator = own_ms, generator
        self.target = Target(name, Path(name), False, "cpu", 1, is_reference=name == "old.onnx")
        self.drift = [0.0]
        self.log: list[str] = []

    def measure(self, batch_size: int, seconds: float, *, fewest: int) -> Measured:
        assert (batch_size, seconds, fewest) == (1, 0.0, 1)
        self.log.append(self.target.name)
        # Both files see the same drift, which within a second adds up to 20 %.
        self.drift[0] = 0.98 * self.drift[0] + 0.05 * self.generator.standard_normal()
        # What disturbs one call alone has a long tail.
        own = 0.02 * self.generator.standard_t(2)
        return Measured([self.own_ms * math.exp(self.drift[0] + own)], None)


def clocked(factor: float, generator: np.random.Generator) -> Pair:
    old, new = Clocked("old.onnx", 10.0, generator), Clocked("new.onnx", 10.0 * factor, generator)
    new.drift, new.log = old.drift, old.log
    return Pair(cast(TargetProcess, new), cast(TargetProcess, old), 1)


def verdicts(factor: float) -> list[str]:
    """Return the verdicts of 200 comparisons of 100 pairs of calls."""
    generator = np.random.default_rng(0)
    found: list[str] = []
    for _ in range(200):
        calls = itertools.islice(calls_in_turn(clocked(factor, generator), 3600.0), 100)
        found.append(case_in_turn(CASE, list(calls)).verdict)
    return found


CASE = CaseKey("new.onnx", "cpu", 1, False, 1)


def test_what_both_files_share_is_no_difference_and_ten_per_cent_are_found() -> None:
    assert verdicts(1.0).count("cannot tell") >= 195
    assert verdicts(1.1).count("slower") >= 190
    assert verdicts(1 / 1.1).count("faster") >= 190


def test_the_interval_covers_the_true_ratio_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(500):
        calls = 10 * np.exp(0.1 * generator.standard_normal((60, 2))) * (1.0, 1.2)
        case = case_in_turn(CASE, [(old, new) for old, new in calls.tolist()])
        covered += case.ratio_interval[0] <= 1.2 <= case.ratio_interval[1]
    assert 0.92 <= covered / 500 <= 0.98


def test_calls_take_turns_and_the_order_changes() -> None:
    pair = clocked(1.0, np.random.default_rng(0))
    calls = list(calls_in_turn(pair, 0.0))  # no time at all: the fewest pairs
    assert len(calls) == FEWEST_PAIRS
    forward = ["old.onnx", "new.onnx"]
    assert cast(Clocked, pair.process).log[:8] == [*forward, *forward[::-1]] * 2
    assert all(old > 0 and new > 0 for old, new in calls)


def test_calls_are_kept_and_the_ratio_is_that_of_pairs() -> None:
    # The machine became half as fast, and one call was disturbed.
    case = case_in_turn(CASE, [(10.0, 11.0)] * 6 + [(20.0, 22.0)] * 5 + [(20.0, 90.0)])
    assert case.ratio == pytest.approx(1.1)
    assert case.ratio_interval == pytest.approx((1.1, 1.1))
    assert case.verdict == "slower"
    assert case.before_samples is not None
    assert decode_samples(case.before_samples) == [[10.0] * 6 + [20.0] * 6]
    assert case.now_samples is not None
    assert decode_samples(case.now_samples) == [[11.0] * 6 + [22.0] * 5 + [90.0]]


def test_few_pairs_bound_nothing() -> None:
    case = case_in_turn(CASE, [(10.0, 20.0)] * 5)
    assert (case.ratio_interval, case.verdict) == ((0.0, math.inf), "cannot tell")


def process_of(target: Target) -> TargetProcess:
    return cast(TargetProcess, SimpleNamespace(target=target))


NEW = Target("new.onnx", Path("new.onnx"), False, "cpu", 1)
OLD = Target("old.onnx", Path("old.onnx"), False, "cpu", 1, is_reference=True)
EAGER = Target("torch eager", Path("run"), True, "cpu", 1)


def test_each_case_stands_beside_the_reference_in_the_same_case() -> None:
    spinning = replace(NEW, spin=True)
    targets = ((EAGER, [1]), (NEW, [1, 8]), (spinning, [1]), (OLD, [1, 2]))
    pairs = pairs_of([(process_of(target), sizes) for target, sizes in targets])
    assert [(pair.case, pair.reference.target) for pair in pairs] == [(NEW.case(1), OLD)]


def test_files_without_a_case_in_common_are_refused_before_they_are_measured() -> None:
    sizes = [(process_of(NEW), [4]), (process_of(OLD), [2]), (process_of(EAGER), [2])]
    with pytest.raises(DataError, match=r"It: old\.onnx, batch 2, .* They: new\.onnx, batch 4"):
        pairs_of(sizes)


def test_the_reference_is_a_model_unless_it_is_json(run_folder: Path, tmp_path: Path) -> None:
    assert reference_model(None, rescale=False) is None
    assert reference_model(tmp_path / "before.json", rescale=False) is None  # it need not exist
    (tmp_path / "before").write_text('\n  {"version": 4}')
    assert reference_model(tmp_path / "before", rescale=True) is None
    model = tiny.write(tiny.tiny_model(), tmp_path / "model.json.onnx")
    assert reference_model(model, rescale=False) == model
    with pytest.raises(SettingsError, match="nothing to rescale"):
        reference_model(model, rescale=True)
    run = shutil.copytree(run_folder, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
    with pytest.raises(DataError, match="no model file was exported yet"):
        reference_model(run, rescale=False)
    (run / "export").mkdir()
    exported = tiny.write(tiny.tiny_model(), run / "export" / "model.onnx")
    assert reference_model(run, rescale=False) == exported


def test_a_file_is_not_put_beside_itself(tmp_path: Path) -> None:
    model = tiny.write(tiny.tiny_model(), tmp_path / "model.onnx")
    (tmp_path / "link.onnx").symlink_to(model)
    with pytest.raises(SettingsError, match=r"link\.onnx is one of the models"):
        chosen_targets([model], ["cpu"], [1], None, reference=tmp_path / "link.onnx")


def test_the_reference_brings_no_torch_eager_of_its_own(run_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
    (run / "export").mkdir()
    old = tiny.write(tiny.tiny_model(), run / "export" / "model.onnx")
    new = tiny.write(tiny.tiny_model(), tmp_path / "model.onnx")
    found = chosen_targets([new], ["cpu"], [1, 2], None, reference=old)
    assert [(t.name, t.threads, t.is_reference) for t in found] == [
        (f"{tmp_path.name}/model.onnx", 1, False),
        ("export/model.onnx", 1, True),
        (f"{tmp_path.name}/model.onnx", 2, False),
        ("export/model.onnx", 2, True),
    ]


def test_a_slower_file_is_exit_status_10_beside_a_faster_one(
    model: Path, rtl_here: Rtl, tmp_path: Path
) -> None:
    shutil.copy(model, tmp_path / "new.onnx")
    tiny.write(tiny.tiny_model(), tmp_path / "old.onnx")
    words = ("bench", "new.onnx", "--compare", "old.onnx", "--fail-if-slower", "50%", "--quiet")
    case = ("--batch-size", 1, "--threads", 1, "--seconds", 0.3, "--retries", 0)
    done = rtl_here(*words, *case, "-o", "new.json")
    assert done.returncode == 10, done.stderr
    assert "1 of 1 cases slower by 50% or more than old.onnx: new.onnx at batch 1" in done.stderr
    written = json.loads((tmp_path / "new.json").read_text())["comparison"]
    assert (written["in_turn"], written["before"]) == (True, "old.onnx")
    assert written["cases"][0]["verdict"] == "slower"
    assert written["cases"][0]["rounds_spread"] is None
    assert len(written["cases"][0]["now_samples"]["round_calls"]) == 1


def test_a_copy_is_compared_from_python(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(model, tmp_path / "copy.onnx"))
    found: Benchmark = bench(
        [copy], compare=model, batch_sizes=(1,), threads=(1,), seconds=0.2, retries=0
    )
    assert found.comparison is not None
    [beside] = found.comparison.cases
    assert beside.target == "copy.onnx"
    assert "copy.onnx" in str(found.comparison.blocks()[0])
    assert f"Beside {model}, measured in turn" in str(found.comparison.blocks()[0])
    assert [row.target for row in found.results] == ["copy.onnx", model.name]
    assert found.models[1].relation == "same model"
