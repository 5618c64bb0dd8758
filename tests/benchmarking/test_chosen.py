"""Which files and runs a benchmark measures, and what they are called in its table."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from tests.runtime.tiny import tiny_model, write
from toolchain.benchmarking.chosen import chosen_targets
from toolchain.errors import ModelFileError


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Path:
    """A run folder with small exports of every kind, and what else lies there."""
    copy = shutil.copytree(run_folder, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
    (copy / "export").mkdir()
    for name in (
        *("model.int8.onnx", "model.pt2", "model.onnx", "model.batch4.onnx", "dish.pt"),
        *(".model.onnx.x1.onnx", "model.onnx.parity.json", "model.onnx.references.npz"),
    ):
        write(tiny_model(), copy / "export" / name)
    return copy


def test_a_run_folder_stands_for_all_of_its_model_files(run: Path) -> None:
    found = chosen_targets([run], ["cpu"], [1], eager=False)
    assert [target.name for target in found] == [
        *("model.onnx", "model.pt2"),  # the default of each format first
        *("dish.pt", "model.batch4.onnx", "model.int8.onnx"),
    ]
    assert all(target.of_run for target in found)


def test_files_of_one_name_are_told_apart_by_their_folders(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    files = [folder / "export" / "model.onnx" for folder in (run, other)]
    found = chosen_targets([*files, files[0]], ["cpu"], [1], eager=True)
    assert [target.name for target in found] == [
        *("torch eager run", "torch eager other"),
        *("run/export/model.onnx", "other/export/model.onnx"),  # a file named twice counts once
    ]
    assert not any(target.of_run for target in found)


def test_every_thread_count_and_provider_has_all_targets(run: Path) -> None:
    found = chosen_targets([run / "export" / "model.onnx"], ["cpu", "cuda"], [1, 2], eager=False)
    assert [(t.threads, t.provider) for t in found] == [
        (1, "cpu"),
        (1, "cuda"),
        (2, "cpu"),
        (2, "cuda"),
    ]


def test_torch_eager_is_measured_beside_the_providers_that_torch_may_have(run: Path) -> None:
    file = run / "export" / "model.onnx"
    providers = ["cpu", "openvino", "auto"]
    found = chosen_targets([file], providers, [1], eager=None)
    assert [(t.eager, t.provider) for t in found] == [
        (True, "cpu"),
        *((False, provider) for provider in providers),
    ]
    alone = chosen_targets([file], ["openvino"], [1], eager=None)
    assert [t.eager for t in alone] == [False]
    asked = chosen_targets([file], ["openvino"], [1], eager=True)
    assert [t.eager for t in asked] == [True, False], "opening it says what torch lacks"


def test_the_command_for_a_run_without_exports_can_be_pasted(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    run.mkdir()
    for name in ("settings.toml", "card.json", "model.safetensors"):
        (run / name).touch()
    with pytest.raises(ModelFileError) as refused:
        chosen_targets([run], ["cpu"], [1], eager=False)
    assert refused.value.hint is not None
    assert shlex.split(refused.value.hint) == ["rtl", "export", str(run)]
