"""Files beside another model that is measured in turn with them."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Rtl
from tests.runtime import tiny
from toolchain.benchmarking.bench import bench
from toolchain.benchmarking.chosen import chosen_targets
from toolchain.benchmarking.figures.case_name import CaseKey
from toolchain.benchmarking.in_turn import (
    compared_in_turn,
    paired_ratio_interval,
    reference_model,
    require_shared_case,
)
from toolchain.benchmarking.processes.targets import Target
from toolchain.benchmarking.result import Benchmark
from toolchain.errors import DataError, SettingsError

from .test_comparison import PAUSED, after_pause, benchmark, case

NEW = Target("new.onnx", Path("new.onnx"), False, "cpu", 1)
OLD = Target("old.onnx", Path("old.onnx"), False, "cpu", 1, is_reference=True)
EAGER = Target("torch eager", Path("run"), True, "cpu", 1)


def drifting(generator: np.random.Generator, factor: float) -> list[list[list[float]]]:
    """Return the rounds of two files on a machine whose speed changes by 20 % between rounds."""
    drift = np.exp(0.2 * generator.standard_normal(5))
    return [
        [(own * speed * np.exp(0.02 * generator.standard_normal(60))).tolist() for speed in drift]
        for own in (10.0, 10.0 * factor)
    ]


def verdicts(factor: float) -> list[str]:
    generator = np.random.default_rng(0)
    found: list[str] = []
    for _ in range(200):
        old, new = drifting(generator, factor)
        rows = benchmark(case(new, target="new.onnx"), case(old, target="old.onnx"))
        [beside] = compared_in_turn(rows, [NEW, OLD], "old.onnx").cases
        found.append(beside.verdict)
    return found


def test_what_both_files_share_is_no_difference_and_ten_per_cent_are_found() -> None:
    assert verdicts(1.0).count("cannot tell") >= 195
    assert verdicts(1.1).count("slower") >= 195
    assert verdicts(1 / 1.1).count("faster") >= 195


def test_the_interval_covers_the_true_ratio_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        noise = np.exp(0.03 * generator.standard_normal((2, 5)))
        low, high = paired_ratio_interval([[v] for v in noise[0]], [[1.2 * v] for v in noise[1]])
        covered += low <= 1.2 <= high
    assert 0.93 <= covered / 1000 <= 0.97


@pytest.mark.parametrize(("before", "now"), [(1, 1), (2, 3)])
def test_rounds_that_are_no_pairs_bound_nothing(before: int, now: int) -> None:
    assert paired_ratio_interval([[1.0]] * before, [[2.0]] * now) == (0.0, math.inf)


def test_each_case_stands_beside_the_reference_in_the_same_case() -> None:
    rounds = [[10.0], [10.1], [10.2], [10.1], [10.0]]
    slower = [[2 * value for value in part] for part in rounds]
    rows = benchmark(
        case(slower, target="torch eager"),
        case(rounds, target="new.onnx"),
        case(slower, target="new.onnx", batch_size=8),
        case(rounds, target="old.onnx"),
        case(rounds, target="old.onnx", threads=2),
        pauses=[after_pause(PAUSED, target="new.onnx"), after_pause(PAUSED, target="old.onnx")],
    )
    found = compared_in_turn(rows, [EAGER, NEW, OLD], "old.onnx")
    assert [(c.target, c.batch_size, c.pause_s, c.verdict) for c in found.cases] == [
        ("new.onnx", 1, None, "cannot tell"),
        ("new.onnx", 1, 1.0, "cannot tell"),
    ]
    assert found.in_turn
    assert found.only_before == ["old.onnx, batch 1, 2 threads"]
    assert found.only_now == ["new.onnx, batch 8, 1 thread"]
    assert "Beside old.onnx, measured in turn" in str(found.blocks()[0])
    assert "no difference" not in repr(found)  # the machine's drift is in both


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


def test_files_without_a_case_in_common_are_refused_before_they_are_measured() -> None:
    cases = [CaseKey("new.onnx", "cpu", 1, False, 4), CaseKey("old.onnx", "cpu", 1, False, 2)]
    with pytest.raises(DataError, match=r"It: old\.onnx, batch 2, .* They: new\.onnx, batch 4"):
        require_shared_case(cases, [NEW, OLD])
    require_shared_case([*cases, cases[0]._replace(batch_size=2)], [NEW, OLD])


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


def test_a_copy_is_compared_from_python(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(model, tmp_path / "copy.onnx"))
    found: Benchmark = bench(
        [copy], compare=model, batch_sizes=(1,), threads=(1,), seconds=0.2, retries=0
    )
    assert found.comparison is not None
    [beside] = found.comparison.cases
    assert beside.target == "copy.onnx"
    assert [row.target for row in found.results] == ["copy.onnx", model.name]
    assert found.models[1].relation == "same model"
