"""`bench` on real files: what must answer alike is compared first, then figures are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
import torch

from tests.runtime import tiny
from tests.verification import tampering
from toolchain.benchmarking import rounds
from toolchain.benchmarking.bench import bench
from toolchain.benchmarking.figures.samples import decode_samples
from toolchain.benchmarking.result import Benchmark
from toolchain.errors import DataError, ModelFileError, ProviderError, RefusedError

SECONDS = 0.2
KEYS = {
    "verdict",
    "p50_ms",
    "p50_interval_ms",
    "p90_ms",
    "p90_interval_ms",
    "p99_ms",
    "p99_interval_ms",
    "mean_ms",
    "mean_interval_ms",
    "min_ms",
    "min_interval_ms",
    "reasons",
    "lacking_calls",
}


@pytest.fixture(scope="module")
def result(run_folder: Path, exported: Path) -> Benchmark:
    """All files of the run folder beside torch eager, at two batch sizes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "WARM_UP_S", 0.05)
        return bench(
            [run_folder],
            batch_sizes=(4, 1),
            threads=(1,),
            seconds=SECONDS,
            eager=True,
            retries=0,
        )


def test_each_target_is_measured_at_each_batch_size(result: Benchmark) -> None:
    cases = [(r.target, r.batch_size, r.threads) for r in result.results]
    assert cases == [
        (name, size, 1)
        for name in ("torch eager", "model.onnx", "model.torchscript.pt")
        for size in (1, 4)
    ]
    assert {r.provider for r in result.results} == {"cpu"}


def test_files_of_one_model_are_shown_to_agree(result: Benchmark) -> None:
    assert [(m.target, m.relation, m.compared_inputs) for m in result.models] == [
        ("torch eager", "first", 28),  # 4 generated, and the 24 images stored beside the export
        ("model.onnx", "same model", 28),
        ("model.torchscript.pt", "same model", 28),
    ]
    assert all(m.other_labels == 0 and (m.max_difference or 0) < 1e-3 for m in result.models)
    assert {(m.architecture, m.precision, m.classes) for m in result.models} == {
        ("resnet18", "fp32", 3)
    }
    assert result.left_out == []


def test_ratio_is_to_the_first_target_at_the_same_batch_size(result: Benchmark) -> None:
    first = {r.batch_size: r.p50_ms for r in result.results[:2]}
    for row in result.results:
        assert row.ratio_to_first == pytest.approx(first[row.batch_size] / row.p50_ms)
    assert [row.ratio_to_first for row in result.results[:2]] == [1.0, 1.0]  # itself


def test_figures_of_a_case_agree_with_each_other(result: Benchmark) -> None:
    for row in result.results:
        assert row.calls is not None
        assert row.calls >= 15  # five rounds of at least three calls
        assert 0 < row.p50_ms <= row.p90_ms <= row.p99_ms
        for name in ("p50_ms", "mean_ms", "min_ms"):
            bounds = getattr(row, f"{name.removesuffix('_ms')}_interval_ms")
            assert bounds[0] <= getattr(row, name) <= bounds[1], name
        low, high = row.images_per_s_interval
        assert low is not None
        assert high is not None
        assert low <= row.images_per_s <= high
        assert row.min_ms is not None
        assert row.mean_ms is not None
        assert row.min_ms <= min(row.p50_ms, row.mean_ms)
        assert 0 < row.images_per_s < row.batch_size * 1.5e3 / row.p50_ms
        assert row.load_ms is not None
        assert row.load_ms > 0
        assert (row.verdict == "VALID") == (row.reasons == [])
    valid = all(row.verdict == "VALID" for row in result.results)
    assert result.verdict == ("VALID" if valid else "INVALID")


def test_percentiles_without_enough_calls_are_marked_and_explained(result: Benchmark) -> None:
    row = result.results[1]
    assert row.calls is not None
    assert row.calls < 459
    assert f"p99 needs 459 calls, has {row.calls}" in row.lacking_calls
    assert row.p99_interval_ms[1] is None
    shown = repr(result)
    assert "~: too few calls for this percentile" in shown
    assert f"p99 needs 459 calls, has {result.results[0].calls} at batch 1" in shown


def test_each_target_has_one_line_with_its_verdict(result: Benchmark) -> None:
    lines = [line for line in repr(result).splitlines() if "VALID" in line]
    lines = [line for line in lines if line.startswith(("torch eager ", "model."))]
    assert [line.split("  ")[0] for line in lines] == [
        "torch eager",
        "model.onnx",
        "model.torchscript.pt",
    ]


def test_ratios_have_intervals_from_paired_rounds(result: Benchmark) -> None:
    assert [row.ratio_to_first_interval for row in result.results[:2]] == [None, None]
    for row in result.results[2:]:
        assert row.ratio_to_first is not None
        assert row.ratio_to_first_interval is not None
        low, high = row.ratio_to_first_interval
        assert low is not None
        assert high is not None
        assert low <= row.ratio_to_first <= high


def test_model_file_needs_less_memory_than_torch(result: Benchmark) -> None:
    eager, onnx, _ = (row.peak_memory_mb for row in result.results if row.batch_size == 1)
    assert eager is not None
    assert onnx is not None
    assert 50 < onnx < 0.7 * eager


def test_json_has_its_version_and_the_documented_keys(result: Benchmark) -> None:
    found = json.loads(msgspec.json.encode(result))
    assert found["version"] == 4
    assert found["results"][0]["target"] == "torch eager"
    assert found.keys() >= {"version", "verdict", "machine", "models", "left_out", "results"}
    assert found["models"][1]["relation"] == "same model"
    assert found["machine"].keys() >= {"processor", "cores", "system", "versions"}
    assert found["results"][0].keys() >= KEYS | {"ratio_to_first", "images_per_s", "load_ms"}
    assert isinstance(found["results"][0]["p50_interval_ms"], list)


def test_calls_after_a_pause_are_measured_beside_those_that_follow_each_other(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "CALLS_AFTER_PAUSE", 1)
    found = bench(
        [model],
        batch_sizes=(1, 2),
        threads=(1,),
        seconds=0.05,
        eager=False,
        spin=True,
        gaps=[0.12],
        busy=1,
        retries=0,
    )
    assert [(r.spin, r.batch_size) for r in found.results] == [
        (False, 1),
        (False, 2),
        (True, 1),
        (True, 2),
    ]
    # Requests come singly, so pauses are measured at the smallest batch.
    assert [(p.spin, p.batch_size, p.keep_warm, p.calls) for p in found.pauses] == [
        (False, 1, False, 5),
        (False, 1, True, 5),
        (True, 1, False, 5),
        (True, 1, True, 5),
    ]
    samples = found.pauses[0].samples
    assert samples is not None
    calls = decode_samples(samples)
    assert [len(values) for values in calls] == [1] * rounds.ROUNDS
    assert min(calls)[0] <= found.pauses[0].p50_ms <= max(calls)[0]
    steady = found.results[0].p50_ms
    assert found.pauses[0].ratio_to_back_to_back == pytest.approx(found.pauses[0].p50_ms / steady)
    shown = repr(found)
    assert "First call after a pause" in shown
    assert "beside 1 busy process;" in shown


def test_ratios_are_within_the_same_number_of_threads(model: Path) -> None:
    found = bench([model], batch_sizes=(1,), threads=(1, 2), seconds=0.05, eager=False, retries=0)
    assert [(row.threads, row.ratio_to_first) for row in found.results] == [(1, 1.0), (2, 1.0)]


def test_a_folder_named_toolchain_in_the_working_directory_is_not_imported(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toolchain").mkdir()
    (tmp_path / "toolchain" / "__init__.py").write_text("raise SystemExit('not this one')")
    shutil.copy(model, tmp_path / "dish.onnx")
    monkeypatch.chdir(tmp_path)
    found = bench(["dish.onnx"], batch_sizes=(1,), threads=(1,), seconds=0.05, retries=0)
    assert [row.target for row in found.results] == ["dish.onnx"]  # no run, so no eager


@pytest.mark.parametrize("change", [tampering.one_weight, tampering.weights_that_are_no_numbers])
def test_a_file_that_claims_to_be_the_same_model_and_answers_otherwise_is_refused(
    model: Path, tmp_path: Path, change: tampering.Tampering
) -> None:
    other = tampering.tampered(model, tmp_path / "other.onnx", change)
    with pytest.raises(RefusedError, match=r"other\.onnx .*: nothing to compare") as caught:
        bench([model, other], batch_sizes=(1,), threads=(1,), seconds=SECONDS, eager=False)
    assert "rtl verify" in str(caught.value.hint)


def test_models_that_differ_are_measured_beside_each_other(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "WARM_UP_S", 0.0)
    more = tampering.tampered(model, tmp_path / "more.onnx", tampering.one_class_more)
    small = tiny.write(tiny.tiny_model(batch=3), tmp_path / "small.onnx")
    found = bench(
        [model, more, small], batch_sizes=(1,), threads=(1,), seconds=0.05, eager=False, retries=0
    )
    assert [(m.target, m.relation, m.classes, m.max_difference) for m in found.models] == [
        ("model.onnx", "first", 3, 0.0),
        ("more.onnx", "other model", 4, None),
        ("small.onnx", "other model", 3, None),  # for images of another size
    ]
    assert [m.architecture for m in found.models] == ["resnet18", "resnet18", "tiny"]
    # The file for batches of 3 is measured at 3 and no other, and the others at 3 too.
    assert [(row.target, row.batch_size) for row in found.results] == [
        ("model.onnx", 1),
        ("model.onnx", 3),
        ("more.onnx", 1),
        ("more.onnx", 3),
        ("small.onnx", 3),
    ]
    same_batch = [row for row in found.results if row.batch_size == 3]
    for row in same_batch:
        assert row.ratio_to_first == pytest.approx(same_batch[0].p50_ms / row.p50_ms)
    shown = repr(found)
    assert "small.onnx takes batches of 3 only" in shown
    assert "not comparable" in shown


def test_without_the_first_target_at_a_batch_size_there_is_no_ratio(tmp_path: Path) -> None:
    first = tiny.write(tiny.tiny_model(batch=2), tmp_path / "two.onnx")
    other = tiny.write(tiny.tiny_model(), tmp_path / "any.onnx")
    found = bench([first, other], batch_sizes=(1,), threads=(1,), seconds=0.05, retries=0)
    assert [(r.target, r.batch_size, r.ratio_to_first is None) for r in found.results] == [
        ("two.onnx", 2, False),
        ("any.onnx", 1, True),
        ("any.onnx", 2, False),
    ]


def test_an_export_of_a_run_that_cannot_be_opened_is_left_out_and_named(
    run_folder: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
    (run / "export").mkdir()
    tiny.write(tiny.tiny_model(), run / "export" / "model.onnx")
    (run / "export" / "model.int8.onnx").write_bytes(b"no model")
    found = bench([run], batch_sizes=(1,), threads=(1,), seconds=0.05, eager=False, retries=0)
    assert [row.target for row in found.results] == ["model.onnx"]
    assert [Path(item.model).name for item in found.left_out] == ["model.int8.onnx"]
    assert "left out" in repr(found)
    with pytest.raises(ModelFileError, match=r"model\.int8\.onnx"):
        bench([run / "export" / "model.int8.onnx"], eager=False)  # named itself
    with pytest.raises(ProviderError, match="tensorrt"):  # asked for, so never just left out
        bench([run], providers=("cpu", "tensorrt"), threads=(1,), eager=False)


def test_a_file_of_another_tool_is_one_clear_line(tmp_path: Path) -> None:
    foreign = tiny.tiny_model()
    del foreign.metadata_props[:]
    path = tiny.write(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ModelFileError, match=r"foreign\.onnx .*not exported by rtl"):
        bench([path])


def test_an_error_in_the_worker_is_raised_with_its_class_and_hint(model: Path) -> None:
    with pytest.raises(ProviderError, match="'tensorrt' is not available") as caught:
        bench([model], providers=("tensorrt",), threads=(1,), eager=False)
    assert caught.value.hint
    assert caught.value.exit_code == 8


@pytest.mark.usefixtures("exported")
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the provider")
def test_torch_eager_without_the_gpu_asked_for_is_a_provider_error(run_folder: Path) -> None:
    with pytest.raises(ProviderError, match="cuda"):
        bench([run_folder], providers=("cuda",), threads=(1,), eager=True)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"gone\.onnx: no such file"):
        bench([tmp_path / "gone.onnx"])


def test_eager_needs_the_run_folder(model: Path, tmp_path: Path) -> None:
    lone = shutil.copy(model, tmp_path)
    with pytest.raises(ModelFileError, match="torch eager needs the run folder") as caught:
        bench([lone], eager=True)
    assert "--eager" in str(caught.value.hint)


def test_a_run_without_exports_says_how_to_make_them(run_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
    with pytest.raises(ModelFileError, match="holds no exported model") as caught:
        bench([run])
    assert str(caught.value.hint).startswith("rtl export")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a finished run"):
        bench([tmp_path])
