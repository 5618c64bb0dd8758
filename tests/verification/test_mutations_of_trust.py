"""Faults by which a file would talk its own verification round, or end it: each is found."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from tests.conftest import Rtl
from tests.verification import tampering
from tests.verification.planting import OFF, ExportedRun, require_caught, verified
from tests.verification.tampering import Tampering, tampered
from toolchain import Predictor
from toolchain.backends.backend import open_backend
from toolchain.errors import ModelFileError, ParityError, SettingsError
from toolchain.exporters.writers.image_input import with_image_input
from toolchain.files import file_sha256
from toolchain.runs.runfolder import parity_file
from toolchain.runtime.selftest import INPUT_NAMES
from toolchain.runtime.stored_outputs import (
    read_stored_outputs,
    write_stored_outputs,
)
from toolchain.verification.levels import batches
from toolchain.verification.levels.batches import batch_level
from toolchain.verification.references.card import card_levels
from toolchain.verification.references.own import own_levels
from toolchain.verification.references.stored import stored_levels
from toolchain.verification.result import Level
from toolchain.verification.strictness import held_card
from toolchain.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quickly")


def both(*changes: Tampering) -> Tampering:
    def change(content: onnx.ModelProto) -> None:
        for one in changes:
            one(content)

    return change


@pytest.fixture
def changed(exported_run: ExportedRun, tmp_path: Path) -> Callable[[Tampering], Path]:
    return lambda change: tampered(exported_run.file, tmp_path / "changed.onnx", change)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (tampering.renamed_inside, "layer conv1: the file does not show it"),
        (
            both(tampering.scaled_largest_weight("layer1.0.conv1", 1.01), tampering.renamed_inside),
            r"layer layer1.0.conv1 with layer1.0.bn1 \(Conv\): its weight differs in 1 of 36864",
        ),
        (
            tampering.clipped("layer2.0.relu", 0.05),
            rf"layer layer2.0.relu \(Clip\): {OFF}",
        ),
        (
            tampering.weights_behind("Identity", "layer1.0.bn1"),
            r"layer layer1.0.conv1 with layer1.0.bn1 \(Conv\): .* an operator computes it",
        ),
    ],
    ids=["renamed", "renamed and a weight changed", "clipped", "behind Identity"],
)
def test_a_fault_that_hides_from_the_layers_is_found_against_the_run(
    exported_run: ExportedRun, changed: Callable[[Tampering], Path], change: Tampering, where: str
) -> None:
    require_caught(verified(changed(change), exported_run), "numbers", "run", where)


def test_a_card_can_not_ask_for_wider_rules_than_its_graph_has(
    exported_run: ExportedRun, changed: Callable[[Tampering], Path]
) -> None:
    proof = open_backend(exported_run.file).card.proof
    assert proof is not None
    wide = msgspec.structs.replace(proof, tolerance=1e9)
    path = changed(
        both(
            tampering.scaled_weight("layer1.1.conv2", 3.0),
            tampering.card_says(precision="int8", proof=wide),
        )
    )
    failed = {(one.level, one.against) for one in verify(path).levels if not one.passed}
    assert failed == {("card", "graph"), ("numbers", "card")}
    with pytest.raises(ParityError, match="does not compute what its card says"):
        Predictor(path, self_test=True, cache=False)


def proof_level(path: Path) -> Level:
    backend = open_backend(path)
    return next(card_levels(backend, held_card(backend.card, "fp32"), path, "cpu", lambda: None))


def test_an_input_whose_outputs_are_no_numbers_is_named(
    changed: Callable[[Tampering], Path],
) -> None:
    level = proof_level(changed(tampering.no_number_for_white))
    assert not level.passed
    assert level.where == "the input all white: its outputs are not numbers"


def test_a_file_without_extremes_in_its_proof_is_verified_by_the_others(
    exported_run: ExportedRun, changed: Callable[[Tampering], Path]
) -> None:
    proof = open_backend(exported_run.file).card.proof
    assert proof is not None
    assert len(proof.logits) + len(proof.extremes) == len(INPUT_NAMES)
    older = msgspec.structs.replace(proof, extremes=())
    level = proof_level(changed(tampering.card_says(proof=older)))
    assert level.passed
    assert level.figures["inputs"] == 4


def test_a_batch_of_one_size_that_is_wrong_is_found_in_a_lone_file(
    changed: Callable[[Tampering], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "SIZES", (5, 6, 7))
    backend = open_backend(changed(tampering.wrong_for_batch(6)))
    level = batch_level(backend, backend.card)
    assert str(level.where).startswith("the batch: wrong for 6 images at once")


# The graph's own resize and crop.


@pytest.fixture(scope="module")
def image_file(exported_run: ExportedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the run with the input `image`."""
    content = onnx.load(exported_run.file)
    card = tampering.card_in(content)
    whole = with_image_input(content, card.preprocessing)
    tampering.put_card(whole, msgspec.structs.replace(card, input="image"))
    path = tmp_path_factory.mktemp("image") / "model.onnx"
    path.write_bytes(whole.SerializeToString())
    return path


def made_level(path: Path) -> Level:
    predictor = Predictor(path, cache=False)
    [level] = own_levels(predictor, predictor.card, path, lambda: None, every_batch_size=True)
    return level


def resize_with(**attributes: Any) -> Tampering:
    """Return a tampering that changes attributes of the resize."""

    def change(content: onnx.ModelProto) -> None:
        [node] = [node for node in content.graph.node if node.op_type == "Resize"]
        kept = [a for a in node.attribute if a.name not in attributes]
        new = [onnx.helper.make_attribute(k, v) for k, v in attributes.items() if v is not None]
        del node.attribute[:]
        node.attribute.extend([*kept, *new])

    return change


def operator_instead(old: str, new: str) -> Tampering:
    def change(content: onnx.ModelProto) -> None:
        node = next(node for node in content.graph.node if node.op_type == old)
        node.op_type = new

    return change


def crop_from(operator: str) -> Tampering:
    """Move the crop: half a pixel goes down for "Sub", up for "Mul", and not to the even side."""

    def change(content: onnx.ModelProto) -> None:
        [up] = [node for node in content.graph.node if node.output[0].endswith("up")]
        up.op_type = operator
        up.input[1] = up.input[0]  # an odd difference minus itself is 0, times itself 1

    return change


def test_the_graphs_own_resize_is_the_predictors_for_pictures_of_many_sizes(
    image_file: Path,
) -> None:
    level = made_level(image_file)
    assert level.passed, level
    assert level.figures["images"] == 10


@pytest.mark.parametrize(
    "change",
    [
        resize_with(mode="nearest", antialias=0),
        resize_with(mode="cubic"),
        resize_with(antialias=0),
        resize_with(coordinate_transformation_mode="align_corners"),
        crop_from("Sub"),
        crop_from("Mul"),
    ],
    ids=["nearest", "cubic", "no antialias", "align_corners", "floor", "ceil"],
)
def test_another_resize_or_crop_in_the_graph_is_found_in_a_lone_file(
    image_file: Path, tmp_path: Path, change: Tampering
) -> None:
    level = made_level(tampered(image_file, tmp_path / "changed.onnx", change))
    assert (level.level, level.against, level.passed) == ("pixels", "made pictures", False)
    assert "resize or crop, in the graph (" in str(level.where) or "error" in level.figures


def test_a_resize_of_the_long_side_fails_and_does_not_end_the_verification(
    image_file: Path, tmp_path: Path
) -> None:
    change = operator_instead("ReduceMin", "ReduceMax")
    result = verify(tampered(image_file, tmp_path / "changed.onnx", change))
    assert ("pixels", "made pictures") in {
        (one.level, one.against) for one in result.levels if not one.passed
    }


def test_a_network_that_gets_other_pixels_than_the_graphs_tensor_is_found(
    image_file: Path, tmp_path: Path
) -> None:
    def change(content: onnx.ModelProto) -> None:
        """Leave a right tensor that nothing uses; the network gets that of a coarser resize."""
        graph = content.graph
        place = next(i for i, node in enumerate(graph.node) if "pixels" in node.input)
        made = {name for node in graph.node[:place] for name in node.output}
        copies = onnx.GraphProto()
        for node in graph.node[:place]:
            copied = copies.node.add()
            copied.CopyFrom(node)
            copied.input[:] = [f"{n}_2" if n in made else n for n in node.input]
            copied.output[:] = [f"{n}_2" for n in node.output]
            copied.name = copied.output[0]
        used = graph.node[place]
        used.input[:] = ["pixels_2" if n == "pixels" else n for n in used.input]
        coarse = onnx.ModelProto(graph=copies)
        resize_with(mode="nearest", antialias=0)(coarse)
        for i, node in enumerate(coarse.graph.node):
            graph.node.insert(place + i, node)

    level = made_level(tampered(image_file, tmp_path / "changed.onnx", change))
    assert "the network gets other pixels" in str(level.where)


# The references and the report beside a file.


def stored_failures(path: Path, exported_run: ExportedRun) -> list[Level]:
    backend = open_backend(path)
    stored = read_stored_outputs(Path(f"{exported_run.file}.references.npz"))
    held = held_card(backend.card, "fp32")
    return [one for one in stored_levels(backend, held, path, stored) if not one.passed]


def test_class_names_in_another_order_than_the_references_point_at_the_card(
    exported_run: ExportedRun, changed: Callable[[Tampering], Path]
) -> None:
    [level] = stored_failures(changed(tampering.other_order_on_the_card), exported_run)
    assert (level.level, level.where) == ("card", "the card: classes")
    assert "in another order" in level.summary


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "squash"}, "preprocessing.mode is squash, at export it was crop"),
        ({"resize_size": 90}, "preprocessing.resize_size is 90, at export it was 73"),
    ],
)
def test_preprocessing_of_the_card_that_does_not_give_the_stored_pixels_is_suspected(
    exported_run: ExportedRun,
    changed: Callable[[Tampering], Path],
    change: dict[str, Any],
    words: str,
) -> None:
    preprocessing = open_backend(exported_run.file).card.preprocessing
    other = msgspec.structs.replace(preprocessing, **change)
    levels = stored_failures(changed(tampering.card_says(preprocessing=other)), exported_run)
    assert f"the card: {words}" in [str(level.where) for level in levels]


def test_references_with_fewer_names_are_refused_and_not_a_crash(
    exported_run: ExportedRun, tmp_path: Path
) -> None:
    model = Path(shutil.copy(exported_run.file, tmp_path / "dish.onnx"))
    stored = read_stored_outputs(Path(f"{exported_run.file}.references.npz"))
    for names in (stored.names[:1], ()):
        write_stored_outputs(
            dataclasses.replace(stored, names=names), Path(f"{model}.references.npz")
        )
        with pytest.raises(ModelFileError, match="can't be read"):
            verify(model)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"sha256": "0" * 64, "passed": True}, "is of a file with sha256"),
        ({"sha256": None, "passed": False}, "says that this file failed"),
        ({}, "can't be read"),
    ],
)
def test_the_report_beside_a_file_must_be_of_it(
    exported_run: ExportedRun, tmp_path: Path, report: dict[str, Any], words: str
) -> None:
    model = Path(shutil.copy(exported_run.file, tmp_path / "dish.onnx"))
    if "sha256" in report:
        report = {**report, "sha256": report["sha256"] or file_sha256(model)}
    parity_file(model).write_text(json.dumps(report))
    [level] = [one for one in verify(model).levels if not one.passed]
    assert (level.level, level.against) == ("card", "report")
    assert words in level.summary


def test_a_digest_that_was_given_is_compared_before_the_file_is_opened(
    exported_run: ExportedRun, tmp_path: Path, rtl_here: Rtl
) -> None:
    model = Path(shutil.copy(exported_run.file, tmp_path / "dish.onnx"))
    digest = file_sha256(model)
    assert rtl_here("verify", model, "--sha256", digest.upper()).returncode == 0
    done = rtl_here("verify", model, "--sha256", "0" * 64)
    assert done.returncode == 6
    assert digest in done.stderr
    with pytest.raises(SettingsError, match="64 hex digits"):
        verify(model, sha256="abc")


def test_weights_of_the_run_that_were_changed_are_the_runs_fault(
    exported_run: ExportedRun,
) -> None:
    trained = dataclasses.replace(exported_run.trained, weights_sha256="f" * 64)
    result = verified(exported_run.file, exported_run._replace(trained=trained))
    require_caught(result, "card", "run", "the run: model.safetensors, not the file")


def test_logits_that_are_no_numbers_name_the_image_of_the_references(
    exported_run: ExportedRun, changed: Callable[[Tampering], Path]
) -> None:
    levels = stored_failures(changed(tampering.weights_that_are_no_numbers), exported_run)
    where = next(level.where for level in levels if level.level == "numbers")
    assert "its outputs are not numbers" in str(where)
    assert np.isfinite(exported_run.trained.eager.card.temperature)
