"""Multi-label from end to end: labels.csv, training, evaluation, export, prediction, benchmark."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from tests.conftest import Rtl
from tests.verification import tampering
from toolchain import Predictor
from toolchain.data.audit import audit_dataset
from toolchain.data.layouts import read_dataset
from toolchain.errors import DataError, ParityError
from toolchain.evaluation.evaluate import Evaluation, evaluate
from toolchain.exporters.export import accepted_models, export
from toolchain.exporters.precision.options import Limits, Reduction
from toolchain.exporters.variants import Variant
from toolchain.files import write_json
from toolchain.metrics.intervals import wilson_interval
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.networks.weights import weights_bytes
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings_file import read_settings, settings_toml
from toolchain.runtime.card import Card, Preprocessing, Weights
from toolchain.training.finetune import finetune
from toolchain.verification.verify import verify

SIZE = 32
TEMPERATURE = 2.0
PREPROCESSING = Preprocessing(size=SIZE, resize_size=SIZE)


def draw(path: Path, labels: tuple[str, ...], seed: int) -> None:
    """Write a noisy image with stripes across, down, both (a hatch) or neither."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :40]
    level = np.full((40, 40), 127.0)
    for label, along in (("across", y), ("down", x)):
        if label in labels:
            level += 55 * np.sin(along / 2.0 + rng.uniform(0, 6))
    pixels = np.clip(level[:, :, None] + rng.normal(0, 12, (40, 40, 3)), 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def hatches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 60 images and labels.csv, which is split by the hash of each file."""
    folder = tmp_path_factory.mktemp("hatches")
    kinds: tuple[tuple[str, ...], ...] = (("across",), ("down",), ("across", "down"), ())
    rows = [["file", "labels"]]
    for number in range(60):
        labels = kinds[number % 4]
        draw(folder / "img" / f"{number:02}.png", labels, number)
        rows.append([f"img/{number:02}.png", ";".join(labels)])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


@pytest.fixture(scope="module")
def run(hatches: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run folder as training writes it, of a network that predicts differently by image."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "hatches")
    folder.path.mkdir()
    dataset, audit = audit_dataset(read_dataset(hatches, "multi-label"))
    torch.manual_seed(0)
    classifier = Classifier(build_network("resnet18", 2), IMAGENET_NORMALISATION).eval()
    logits = logits_of(classifier, [sample.path for sample in dataset.train])
    with torch.no_grad():
        # Centred on zero, so that each class is predicted for half of the images.
        bias = classifier.network.get_parameter("fc.bias")
        bias.sub_(logits.median(dim=0).values)
    data = weights_bytes(classifier.state_dict())
    folder.weights.write_bytes(data)
    settings = read_settings(
        None, {"data": str(hatches), "task": "multi-label", "weights": "none", "size": SIZE}
    )
    folder.settings.write_text(settings_toml(settings))
    write_json(folder.audit, audit)
    folder.write_card(
        Card(
            classes=dataset.classes,
            task="multi-label",
            preprocessing=PREPROCESSING,
            normalisation=IMAGENET_NORMALISATION,
            temperature=TEMPERATURE,
            architecture="resnet18",
            weights=Weights(origin="random", sha256=hashlib.sha256(data).hexdigest()),
            settings_sha256="",
            data_sha256=audit.fingerprint,
            versions={"rtl": "0"},
            created="2026-01-01T00:00:00+00:00",
        )
    )
    return folder


def logits_of(classifier: Classifier, paths: list[Path]) -> torch.Tensor:
    from toolchain.runtime.image.decode import read_image
    from toolchain.runtime.image.preprocess import preprocess

    pixels = [preprocess(read_image(path, PREPROCESSING), PREPROCESSING) for path in paths]
    with torch.inference_mode():
        logits: torch.Tensor = classifier(torch.from_numpy(np.stack(pixels)))
    return logits


@pytest.fixture(scope="module")
def result(run: RunFolder) -> Evaluation:
    return evaluate(run.path, workers=0)


@pytest.fixture(scope="module")
def model(run: RunFolder, result: Evaluation) -> Path:
    """The ONNX file of that run, exported after its evaluation, as is a TorchScript file."""
    accepted_models(export(run.path, [Variant("onnx"), Variant("torchscript")]))
    return run.model_file("onnx")


@pytest.fixture(scope="module")
def predictor(model: Path) -> Iterator[Predictor]:
    with Predictor(model, self_test=True) as opened:
        yield opened


def test_a_run_trained_on_a_csv_is_evaluated_exported_and_predicts(
    hatches: Path, tmp_path: Path
) -> None:
    settings = read_settings(
        None,
        {
            "data": str(hatches / "labels.csv"),
            "task": "multi-label",
            "weights": "none",
            "strategy": "full",
            "size": SIZE,
            "epochs": 2,
            "augment": "none",
            "workers": 0,
        },
    )
    trained = finetune(settings, tmp_path / "run")
    assert (trained.run.read_card().task, trained.dataset.task) == ("multi-label", "multi-label")
    assert not trained.run.confusion.exists()
    assert evaluate(trained.run.path, workers=0).task == "multi-label"
    [exported] = accepted_models(export(trained.run.path, images=4))
    with Predictor(exported.path, self_test=True) as predictor:
        assert predictor(hatches / "img" / "00.png").task == "multi-label"


def test_accuracy_counts_images_that_are_right_in_all_of_their_classes(result: Evaluation) -> None:
    right = sum(set(r.labels or ()) == set(r.predicted_labels or ()) for r in result.results)
    assert result.images == len(result.results) > 5
    assert result.accuracy == right / result.images
    assert result.accuracy_interval == wilson_interval(right, result.images)
    assert (result.task, result.threshold) == ("multi-label", 0.5)


def test_metrics_of_a_class_agree_with_the_results_of_the_images(result: Evaluation) -> None:
    for row in result.per_class:
        actual = [row.label in (r.labels or ()) for r in result.results]
        predicted = [row.label in (r.predicted_labels or ()) for r in result.results]
        hits = sum(a and b for a, b in zip(actual, predicted, strict=True))
        assert row.images == sum(actual)
        assert row.recall == pytest.approx(hits / max(sum(actual), 1))
        assert row.precision == pytest.approx(hits / max(sum(predicted), 1))
    assert {len(r.predicted_labels or ()) for r in result.results} >= {0, 2}


def test_results_have_the_probabilities_of_the_predicted_classes(result: Evaluation) -> None:
    for row in result.results:
        assert row.probabilities is not None
        assert row.predicted_labels is not None
        assert len(row.probabilities) == len(row.predicted_labels)
        assert list(row.probabilities) == sorted(row.probabilities, reverse=True)
        assert all(0.5 <= probability <= 1 for probability in row.probabilities)


def test_evaluation_json_has_sets_of_labels_and_no_confusion(
    run: RunFolder, result: Evaluation
) -> None:
    found = json.loads(run.evaluation.read_text())
    assert found["results"][0].keys() == {"file", "labels", "predicted_labels", "probabilities"}
    assert found["confusion"] == []
    assert msgspec.json.decode(run.evaluation.read_bytes(), type=Evaluation) == result
    assert not run.confusion.exists()


def test_the_card_has_the_metrics(run: RunFolder, result: Evaluation) -> None:
    metrics = run.read_card().metrics
    assert metrics is not None
    assert (metrics.accuracy, metrics.auc) == (result.accuracy, result.auc)
    assert metrics.calibration_error == result.calibration_error is not None


def test_evaluation_predicts_by_the_threshold_of_the_card(run: RunFolder, tmp_path: Path) -> None:
    own = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    own.write_card(msgspec.structs.replace(own.read_card(), threshold=0.0))
    found = evaluate(own.path, workers=0)
    assert found.threshold == 0
    assert all(row.recall == 1 for row in found.per_class)
    assert {len(r.predicted_labels or ()) for r in found.results} == {2}


def test_a_run_whose_csv_is_gone_is_refused(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "data" / "across").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no labels\.csv"):
        evaluate(run.path, data=str(tmp_path / "data"), workers=0)


def test_exported_files_pass_against_every_reference(model: Path, run: RunFolder) -> None:
    for path in (model, run.model_file("torchscript")):
        found = verify(path)
        assert found.passed
        references = {level.against for level in found.levels}
        own = {"report", "single images"}
        assert references == {"card", "references", "run", "image formats"} | own
        rules = [level.rule for level in found.levels if level.level == "decisions"]
        assert all("no set of labels differs" in rule for rule in rules)


def test_probabilities_are_the_sigmoid_of_each_logit(model: Path, predictor: Predictor) -> None:
    kinds = {node.op_type for node in onnx.load(model).graph.node}
    assert "Sigmoid" in kinds
    assert "Softmax" not in kinds
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    probabilities, logits = predictor.run(pixels)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits / TEMPERATURE)), atol=1e-6)


def test_the_predictor_agrees_with_the_evaluation(
    predictor: Predictor, result: Evaluation, hatches: Path
) -> None:
    for row in result.results:
        prediction = predictor(hatches / row.file)
        assert prediction.labels == row.predicted_labels
        found = [probability for _, probability in prediction.predicted]
        assert found == pytest.approx(row.probabilities, abs=1e-4)


def other_sigmoid(content: onnx.ModelProto) -> None:
    """Compute the probabilities from the logits without the temperature."""
    [sigmoid] = [node for node in content.graph.node if node.op_type == "Sigmoid"]
    sigmoid.input[0] = "logits"


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(
    ("change", "level"),
    [
        (tampering.one_weight, "numbers"),
        (other_sigmoid, "numbers"),
        (tampering.card_says(threshold=0.4), "card"),
        (tampering.card_says(task="single-label"), "card"),
        (tampering.card_says(temperature=1.0), "card"),
    ],
)
def test_a_changed_file_fails(
    model: Path, run: RunFolder, tmp_path: Path, change: tampering.Tampering, level: str
) -> None:
    path = tampering.tampered(model, tmp_path / "changed.onnx", change)
    found = verify(path, run=run.path)
    assert level in {one.level for one in found.levels if not one.passed}


def test_a_sigmoid_without_its_temperature_is_named(model: Path, tmp_path: Path) -> None:
    path = tampering.tampered(model, tmp_path / "changed.onnx", other_sigmoid)
    level = verify(path).levels[0]
    assert not level.passed
    assert str(level.where).startswith("temperature (Div): 1 instead of 2, ")


@pytest.mark.usefixtures("quickly")
def test_a_file_that_predicts_other_classes_fails(
    model: Path, run: RunFolder, tmp_path: Path
) -> None:
    def change(content: onnx.ModelProto) -> None:
        tampering.change_tensor(content, "fc.bias", lambda bias: bias + np.float32(100))

    path = tampering.tampered(model, tmp_path / "changed.onnx", change)
    shutil.copy(f"{model}.references.npz", f"{path}.references.npz")
    found = verify(path, run=run.path)
    decisions = [level for level in found.levels if level.level == "decisions"]
    assert len(decisions) == 2
    assert all(level.figures["flips_outside_margin"] for level in decisions)


@pytest.mark.usefixtures("quickly")
def test_a_file_exported_as_single_label_is_not_kept(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolchain.exporters import export as export_module
    from toolchain.networks.resnet import InferenceModel

    def single_label(classifier: Classifier, temperature: float, task: str) -> InferenceModel:
        return InferenceModel(classifier, temperature)

    monkeypatch.setattr(export_module, "InferenceModel", single_label)
    with pytest.raises(ParityError, match="the file was not kept"):
        accepted_models(export(run.path, [Variant("torchscript")], tmp_path))


def test_int8_acceptance_counts_images_right_in_all_of_their_classes(
    run: RunFolder, model: Path, hatches: Path, tmp_path: Path
) -> None:
    # Random weights, all near the threshold: changes are counted here, and any number is accepted.
    any_change = Reduction(Limits(max_drop=1.0, max_flips=1.0))
    [exported] = accepted_models(
        export(run.path, [Variant(precision="int8")], tmp_path, reduction=any_change)
    )
    assert exported.verification.passed
    found = exported.card.acceptance
    assert found is not None
    dataset = read_dataset(hatches, "multi-label")
    predicted = []
    for path in (model, exported.path):
        with Predictor(path) as predictor:
            predicted.append([set(predictor(sample.path).labels) for sample in dataset.val])
    truth = [{dataset.classes[i] for i in np.atleast_1d(s.label)} for s in dataset.val]
    right = [sum(a == b for a, b in zip(sets, truth, strict=True)) for sets in predicted]
    assert found.images == len(truth) == 6
    assert (found.accuracy_before, found.accuracy_after) == (right[0] / 6, right[1] / 6)
    changed = sum(a != b for a, b in zip(*predicted, strict=True))
    assert found.flips <= changed  # changes within the margin of the threshold are not flips


def test_predict_writes_a_line_for_each_file(
    rtl_here: Rtl, model: Path, hatches: Path, result: Evaluation
) -> None:
    files = [hatches / row.file for row in result.results]
    broken = hatches.parent / "broken.png"
    done = rtl_here("predict", model, *files, broken, "--json", "--top", 2)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 7
    assert [tuple(line["labels"]) for line in lines[:-1]] == [
        row.predicted_labels for row in result.results
    ]
    assert lines[0].keys() == {"file", "labels", "probabilities", "top"}
    assert len(lines[0]["top"]) == 2
    assert lines[-1].keys() == {"file", "error", "accepted"}


def test_predict_writes_a_csv_like_the_one_of_training(
    rtl_here: Rtl, model: Path, hatches: Path, result: Evaluation
) -> None:
    files = [hatches / row.file for row in result.results]
    done = rtl_here("predict", model, *files, "--format", "csv", "--top", 3)
    header, *rows = csv.reader(io.StringIO(done.stdout))
    assert header[:4] == ["file", "labels", "label_1", "probability_1"]
    assert {len(row) for row in rows} == {len(header)}
    assert [tuple(filter(None, row[1].split(";"))) for row in rows] == [
        row.predicted_labels for row in result.results
    ]


def test_tables_show_sets_of_labels(
    rtl_here: Rtl, model: Path, run: RunFolder, hatches: Path, result: Evaluation
) -> None:
    none = next(row.file for row in result.results if not row.predicted_labels)
    table = rtl_here("predict", model, hatches / none, "--format", "table").stdout
    assert table.splitlines()[1].split()[1] == "–"
    assert "right in all classes" in rtl_here("evaluate", run.path).stdout
    inspected = rtl_here("inspect", model).stdout
    assert "sigmoid, temperature 2; a class counts from 50.0 %" in inspected


def test_all_benchmark_targets_of_a_multi_label_run_agree(rtl_here: Rtl, model: Path) -> None:
    done = rtl_here("bench", model.parent.parent, "--seconds", 0.1, "--batch-size", 1, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len({row["target"] for row in found["results"]}) == 3


def test_data_check_takes_the_task_and_passes_it_on(rtl_here: Rtl, hatches: Path) -> None:
    done = rtl_here("data", "check", hatches, "--task", "multi-label", "--json")
    assert json.loads(done.stdout)["per_class"]["across"].keys() == {"train", "val", "test"}
    assert done.stderr.splitlines()[-1].endswith("--task multi-label")
    refused = rtl_here("data", "check", hatches)
    assert refused.returncode == 3
    assert "hint: --task multi-label" in refused.stderr
