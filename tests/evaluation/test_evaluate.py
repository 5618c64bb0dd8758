"""`evaluate` on a real run: its result, the files that it writes, and its errors."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from tests.conftest import draw_stripes
from toolchain.data.audit_result import Audit, Unreadable
from toolchain.errors import DataError, MissingExtraError
from toolchain.evaluation import evaluate as evaluate_module
from toolchain.evaluation.evaluate import Evaluation, evaluate
from toolchain.metrics.intervals import wilson_interval
from toolchain.networks.weights import read_weights, weights_bytes
from toolchain.progress import SilentReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings_file import settings_toml
from toolchain.runs.stored_settings import stored_settings

KEYS = {"accuracy", "accuracy_interval", "macro_f1", "per_class"}  # see docs/json.md


@pytest.fixture
def own_run(run_folder: Path, tmp_path: Path) -> RunFolder:
    """A copy of the run that a test may change."""
    skip = shutil.ignore_patterns("export")
    return RunFolder(shutil.copytree(run_folder, tmp_path / "own" / "run", ignore=skip))


@pytest.fixture
def own_data(stripes: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may change."""
    return shutil.copytree(stripes, tmp_path / "data")


@pytest.fixture(scope="module")
def result(run_folder: Path) -> Evaluation:
    """The evaluation.json in the run folder."""
    return msgspec.json.decode((run_folder / "evaluation.json").read_bytes(), type=Evaluation)


def mark_unreadable(run: RunFolder, name: str) -> None:
    """Write the audit as training does when this file is unreadable."""
    audit = msgspec.json.decode(run.audit.read_bytes(), type=Audit)
    audit = msgspec.structs.replace(audit, unreadable=(Unreadable(name, "damaged"),))
    run.audit.write_bytes(msgspec.json.encode(audit))


def test_evaluation_json_has_the_documented_keys(run_folder: Path) -> None:
    found = json.loads((run_folder / "evaluation.json").read_text())
    assert found.keys() >= {"version", "split", "images", "confusion", "results"} | KEYS
    assert found["per_class"][0].keys() == {"label", "images", "precision", "recall", "f1"}
    assert found["results"][0].keys() == {"file", "label", "predicted", "probability"}
    assert (found["task"], found["threshold"]) == ("single-label", None)


def test_metrics_agree_with_the_results_of_the_images(result: Evaluation) -> None:
    right = sum(row.label == row.predicted for row in result.results)
    assert result.accuracy == right / result.images == right / 24
    assert result.accuracy_interval == wilson_interval(right, 24)
    assert sum(map(sum, result.confusion)) == 24
    assert all(row.probability and 1 / 3 < row.probability <= 1 for row in result.results)


def test_auc_and_calibration_error_are_computed(result: Evaluation) -> None:
    confidence = sum(row.probability or 0 for row in result.results) / result.images
    assert result.auc is not None
    assert result.calibration_error is not None
    assert 0.5 < result.auc <= 1
    # The mean gap of the bins is at least the gap of the overall means.
    assert abs(result.accuracy - confidence) - 1e-6 <= result.calibration_error <= 1


def test_each_image_of_the_split_has_a_result_with_its_label(
    result: Evaluation, stripes: Path
) -> None:
    files = sorted(path.relative_to(stripes).as_posix() for path in stripes.glob("val/*/*.jpg"))
    assert [row.file for row in result.results] == files
    assert all(row.file.split("/")[1] == row.label for row in result.results)


def test_the_trained_model_is_better_than_chance(result: Evaluation) -> None:
    assert result.accuracy > 0.6
    assert result.macro_f1 > 0.6


def test_metrics_are_written_into_the_card(run_folder: Path, result: Evaluation) -> None:
    metrics = RunFolder(run_folder).read_card().metrics
    assert metrics is not None
    assert (metrics.split, metrics.images, metrics.accuracy) == ("val", 24, result.accuracy)
    assert metrics.accuracy_interval == result.accuracy_interval
    assert metrics.macro_f1 == result.macro_f1
    assert (metrics.auc, metrics.calibration_error) == (result.auc, result.calibration_error)


def test_auto_takes_the_test_split_where_there_is_one_and_val_can_be_named(
    own_run: RunFolder, own_data: Path
) -> None:
    draw_stripes(own_data / "test" / "down" / "new.jpg", "down", 5)
    found = evaluate(own_run.path, data=str(own_data), workers=0)
    assert (found.split, found.images) == ("test", 1)
    assert found.per_class[2].images == 1
    assert evaluate(own_run.path, data=str(own_data), split="val", workers=0).split == "val"


def test_metrics_of_training_images_and_of_other_data_are_not_written_into_the_card(
    own_run: RunFolder, own_data: Path
) -> None:
    before = own_run.read_card()
    evaluate(own_run.path, split="train", workers=0)
    evaluate(own_run.path, data=str(own_data), split="val", workers=0)
    assert own_run.read_card() == before


def test_a_missing_split_is_refused_with_one_that_exists(own_run: RunFolder) -> None:
    with pytest.raises(DataError, match="no test split") as caught:
        evaluate(own_run.path, split="test", workers=0)
    assert caught.value.hint == "--split val"


def test_a_moved_run_has_the_same_results_and_draws_the_confusion_matrix(
    own_run: RunFolder, result: Evaluation
) -> None:
    own_run.confusion.unlink()
    assert evaluate(own_run.path, workers=0).results == result.results
    with Image.open(own_run.confusion) as picture:
        assert picture.format == "PNG"


def test_batch_size_and_workers_change_no_prediction(
    own_run: RunFolder, result: Evaluation
) -> None:
    found = evaluate(own_run.path, batch_size=7, workers=1)
    assert [row.predicted for row in found.results] == [row.predicted for row in result.results]
    assert found.loss == pytest.approx(result.loss, abs=1e-4)


def test_moved_data_are_found_with_the_option_data(
    own_run: RunFolder, own_data: Path, result: Evaluation
) -> None:
    own_run.settings.write_text(own_run.settings.read_text().replace("stripes", "gone"))
    with pytest.raises(DataError, match="no longer there") as caught:
        evaluate(own_run.path, workers=0)
    assert "--data" in str(caught.value.hint)
    assert evaluate(own_run.path, data=str(own_data), workers=0).results == result.results


def test_data_with_other_classes_is_refused(own_run: RunFolder, own_data: Path) -> None:
    before = own_run.card.read_bytes(), own_run.evaluation.read_bytes()
    (own_data / "train" / "across").rename(own_data / "train" / "along")
    (own_data / "val" / "across").rename(own_data / "val" / "along")
    with pytest.raises(DataError, match="not those that"):
        evaluate(own_run.path, data=str(own_data), workers=0)
    assert (own_run.card.read_bytes(), own_run.evaluation.read_bytes()) == before


def test_files_that_training_left_out_are_left_out(own_run: RunFolder, own_data: Path) -> None:
    (own_data / "val" / "down" / "03.jpg").write_bytes(b"not an image")
    mark_unreadable(own_run, "val/down/03.jpg")
    found = evaluate(own_run.path, data=str(own_data), workers=0)
    assert found.images == 23
    assert "val/down/03.jpg" not in {row.file for row in found.results}
    assert found.results[-1].file == "val/down/07.jpg"


def test_an_image_damaged_since_training_is_named(own_run: RunFolder, own_data: Path) -> None:
    (own_data / "val" / "down" / "03.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"down.03\.jpg"):
        evaluate(own_run.path, data=str(own_data), workers=0)


def test_a_split_of_nothing_but_unreadable_files_is_refused(
    own_run: RunFolder, own_data: Path
) -> None:
    (own_data / "test" / "down").mkdir(parents=True)
    (own_data / "test" / "down" / "new.jpg").write_bytes(b"not an image")
    mark_unreadable(own_run, "test/down/new.jpg")
    with pytest.raises(DataError, match="no readable image in its test split"):
        evaluate(own_run.path, data=str(own_data), workers=0)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a finished run") as caught:
        evaluate(tmp_path)
    assert "rtl finetune" in str(caught.value.hint)


def classes_in(folder: Path, labels: tuple[str, ...], seed: int, count: int = 2) -> Path:
    """Draw some images of each class that training has not seen."""
    for number, label in enumerate(labels):
        for i in range(count):
            draw_stripes(folder / label / f"{i}.jpg", label, seed + number + 3 * i)
    return folder


def messages_of(run: RunFolder, **given: Any) -> tuple[Evaluation, str]:
    """Return (the result, the messages) of an evaluation."""
    reporter = Messages()
    return evaluate(run.path, workers=0, progress=reporter, **given), "\n".join(reporter.lines)


class Messages(SilentReporter):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def test_a_folder_of_classes_is_evaluated_whole(own_run: RunFolder, tmp_path: Path) -> None:
    data = classes_in(tmp_path / "new", ("across", "aslant", "down"), 7000)
    found = evaluate(own_run.path, data=str(data), workers=0)
    assert (found.split, found.images) == ("all", 6)
    assert found.data == str(data)
    assert len(found.results) == sum(row.images for row in found.per_class) == 6


@pytest.mark.parametrize("name", ["test", "val", "validation"])
def test_a_folder_with_one_split_alone_is_evaluated(
    own_run: RunFolder, tmp_path: Path, name: str
) -> None:
    classes_in(tmp_path / "new" / name, ("aslant", "down"), 7000, count=1)
    found, messages = messages_of(own_run, data=str(tmp_path / "new"))
    assert (found.split, found.images) == ({"validation": "val"}.get(name, name), 2)
    assert "no images of across" in messages
    other = "val" if name == "test" else "test"
    with pytest.raises(DataError, match=f"has no {other} split"):
        evaluate(own_run.path, data=str(tmp_path / "new"), split=other, workers=0)


def test_images_that_the_run_was_trained_on_are_left_out(
    own_run: RunFolder, stripes: Path, tmp_path: Path
) -> None:
    data = classes_in(tmp_path / "new", ("across", "down"), 7000)
    shutil.copy(stripes / "train" / "down" / "00.jpg", data / "down" / "seen.jpg")
    found, messages = messages_of(own_run, data=str(data))
    assert found.images == 4
    assert "left out 1 images" in messages
    shutil.rmtree(data)
    shutil.copytree(stripes / "train", data)
    with pytest.raises(DataError, match="trained on all of its 48 images"):
        evaluate(own_run.path, data=str(data), workers=0)


def test_folders_of_unknown_classes_are_refused(own_run: RunFolder, tmp_path: Path) -> None:
    data = classes_in(tmp_path / "new", ("across",), 7000)
    (data / "across").rename(data / "along")
    with pytest.raises(DataError, match="'along' is not one of them"):
        evaluate(own_run.path, data=str(data), workers=0)


def with_data(run: RunFolder, data: Path) -> None:
    """Write another place of its data into a run."""
    settings = msgspec.structs.replace(stored_settings(run.settings), data=str(data))
    run.settings.write_text(settings_toml(settings))


def test_changed_validation_images_leave_the_card_alone(own_run: RunFolder, own_data: Path) -> None:
    with_data(own_run, own_data)
    before = own_run.read_card()
    assert evaluate(own_run.path, workers=0).as_trained is True
    (own_data / "val" / "down" / "03.jpg").unlink()
    found, messages = messages_of(own_run)
    assert (found.images, found.as_trained) == (23, False)
    assert "the val images or labels have changed since" in messages
    assert own_run.read_card() == before


def test_relabelled_images_are_a_change_too(own_run: RunFolder, own_data: Path) -> None:
    with_data(own_run, own_data)
    val = own_data / "val"
    (val / "down" / "00.jpg").rename(val / "across" / "moved.jpg")
    assert evaluate(own_run.path, workers=0).as_trained is False


def test_the_evaluation_names_weights_and_images(own_run: RunFolder, result: Evaluation) -> None:
    audit = msgspec.json.decode(own_run.audit.read_bytes(), type=Audit)
    assert result.weights_sha256 == own_run.read_card().weights.sha256
    assert result.data_sha256 == audit.fingerprints["val"]


def test_a_file_unreadable_at_training_and_good_now_is_judged(
    own_run: RunFolder, own_data: Path
) -> None:
    mark_unreadable(own_run, "val/down/03.jpg")
    found, messages = messages_of(own_run, data=str(own_data))
    assert found.images == 24
    assert "on 24 val images" in messages


def test_another_runs_weights_are_refused(own_run: RunFolder) -> None:
    state = read_weights(own_run.weights)
    state["network.fc.bias"] += 1
    own_run.weights.write_bytes(weights_bytes(state))
    with pytest.raises(DataError, match=r"model\.safetensors is damaged, or of another run"):
        evaluate(own_run.path, workers=0)


def test_a_run_that_cannot_be_written_gives_its_result_and_says_so(
    own_run: RunFolder, result: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(evaluate_module, "write_json", read_only)
    found, messages = messages_of(own_run)
    assert found.accuracy == result.accuracy
    assert not found.saved
    assert "warning: the result is not kept" in messages
    assert "read-only file system" in messages


def test_without_a_package_that_draws_the_result_is_kept_and_the_reason_said(
    own_run: RunFolder, result: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise MissingExtraError("matplotlib", "train", "libfreetype is missing")

    monkeypatch.setattr(evaluate_module, "_draw_confusion", broken)
    found, messages = messages_of(own_run)
    assert (found.accuracy, found.saved) == (result.accuracy, True)
    assert "is not drawn: matplotlib is installed and can't be imported" in messages
    assert "and confusion.png" not in messages
