"""A run folder where a model file is asked for: which model answers, and what is said."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.conftest import Rtl
from toolchain.backends.run_model import RunPredictor, exported_file, open_predictor
from toolchain.errors import DataError, ModelFileError
from toolchain.files import file_sha256
from toolchain.networks.weights import read_weights, weights_bytes
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.card import Weights
from toolchain.runtime.predictor import Predictor
from toolchain.verification.inspection import inspect_model


@pytest.fixture
def own_run(run_folder: Path, tmp_path: Path) -> RunFolder:
    """A copy of the run without its export."""
    skip = shutil.ignore_patterns("export")
    return RunFolder(shutil.copytree(run_folder, tmp_path / "own", ignore=skip))


@pytest.fixture
def photo(stripes: Path) -> Path:
    """One image."""
    return stripes / "val" / "down" / "00.jpg"


def test_a_run_answers_as_its_export_does(own_run: RunFolder, model: Path, photo: Path) -> None:
    said: list[str] = []
    with open_predictor(own_run.path, report=said.append) as predictor, Predictor(model) as other:
        assert isinstance(predictor, RunPredictor)
        found, expected = predictor(photo), other(photo)
        many = list(predictor.predict_many([photo] * 40, batch_size=4, workers=2))
    assert found.label == expected.label
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    assert len(many) == 40
    assert "torch answers" in said[0]
    assert pickle.loads(pickle.dumps(predictor_of(own_run)))(photo).label == found.label


def test_rows_of_a_run_that_torch_computes_are_written_and_resumed(
    own_run: RunFolder, photo: Path, tmp_path: Path, rtl_here: Rtl
) -> None:
    words = ("predict", own_run.path, photo, "--output", "rows.jsonl")
    done = rtl_here(*words)
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "rows.jsonl").read_text()
    assert json.loads(rows)["label"] in own_run.read_card().classes
    assert rtl_here(*words, "--resume").returncode == 0
    assert (tmp_path / "rows.jsonl").read_text() == rows


def predictor_of(run: RunFolder) -> Predictor:
    """Return an open predictor of a run without export."""
    return open_predictor(run.path, report=lambda line: None)


def test_the_export_of_a_run_answers_where_it_is_of_the_same_weights(
    own_run: RunFolder, model: Path
) -> None:
    own_run.export.mkdir()
    shutil.copy(model, own_run.model_file("onnx"))
    said: list[str] = []
    with open_predictor(own_run.path, report=said.append) as predictor:
        assert not isinstance(predictor, RunPredictor)
    assert f"{own_run.model_file('onnx')} answers for the run" in said[0]
    state = read_weights(own_run.weights)
    state["network.fc.bias"] += 1
    own_run.weights.write_bytes(weights_bytes(state))
    weights = Weights("random", file_sha256(own_run.weights))
    own_run.write_card(msgspec.structs.replace(own_run.read_card(), weights=weights))
    with open_predictor(own_run.path, report=said.append) as predictor:
        assert isinstance(predictor, RunPredictor)
    assert "is not of the run's model as it is now" in said[1]


def test_from_a_run_to_a_label_is_one_command(
    rtl_here: Rtl, own_run: RunFolder, photo: Path
) -> None:
    done = rtl_here("predict", own_run.path, photo)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label"] in own_run.read_card().classes


def test_inspect_describes_the_model_of_a_run(own_run: RunFolder) -> None:
    result = inspect_model(own_run.path)
    assert result.card == own_run.read_card()
    assert result.sha256 == result.card.weights.sha256
    assert "trained weights, not exported" in repr(result)
    own_run.weights.write_bytes(b"other")
    with pytest.raises(ModelFileError, match="of another run"):
        inspect_model(own_run.path)


def test_verify_takes_the_export_of_a_run(own_run: RunFolder, exported: Path) -> None:
    assert exported_file(exported.parent) == exported / "model.onnx"
    with pytest.raises(DataError, match="no model file was exported yet") as caught:
        exported_file(own_run.path)
    assert caught.value.hint == f"rtl export {own_run.path}"
    own_run.export.mkdir()
    for name in ("model.pt2", "model.int8.onnx"):
        (own_run.export / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"several model files: model\.int8\.onnx, model\.pt2"):
        exported_file(own_run.path)


def test_a_predictor_of_a_run_folder_says_which_file_to_open(
    own_run: RunFolder, exported: Path, tmp_path: Path
) -> None:
    for folder, said in (
        (exported.parent, f"open {exported / 'model.onnx'}"),
        (own_run.path, "rtl export"),
        (tmp_path, "give the model.onnx"),
    ):
        with pytest.raises(ModelFileError, match="folder, not a model file") as caught:
            Predictor(folder)
        assert said in str(caught.value.hint)


def test_a_run_whose_training_was_stopped_is_named_with_its_resume(own_run: RunFolder) -> None:
    own_run.weights.unlink()
    own_run.checkpoints.mkdir()
    with pytest.raises(DataError, match="not a finished run") as caught:
        predictor_of(own_run)
    assert "--resume" in str(caught.value.hint)


def test_verify_takes_a_run_and_says_which_file_it_verifies(
    own_run: RunFolder, model: Path, rtl_here: Rtl
) -> None:
    done = rtl_here("verify", own_run.path)
    assert done.returncode == 3
    assert "rtl export" in done.stderr
    shutil.copytree(model.parent, own_run.path / "export")
    done = rtl_here("verify", own_run.path, "--images", 4)
    assert done.returncode == 0, done.stderr
    assert f"verifying {own_run.path / 'export' / model.name}" in done.stderr
