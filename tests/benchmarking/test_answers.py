"""What is required of the answers of targets, and what is said of them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.runtime.tiny import CLASSES, tiny_card, tiny_model, write
from toolchain.benchmarking.answers import (
    Answers,
    compared_models,
    reason_against_answers,
    require_consistent,
)
from toolchain.benchmarking.processes.targets import Target
from toolchain.benchmarking.result import Benchmark
from toolchain.benchmarking.rows import ComparedModel
from toolchain.errors import RefusedError
from toolchain.machine import this_machine
from toolchain.runtime.card import Acceptance, Metrics, Precision, Weights
from toolchain.runtime.onnxfile.stored_weights import stored_precision
from toolchain.runtime.selftest import make_proof

LOGITS = np.array([[3, 1, 0], [0, 2, 1], [1, 0, 4], [2, 1, 0]], np.float32)
OTHER = Weights(origin="random", sha256="1" * 64)


def answers(
    name: str, logits: NDArray[Any] = LOGITS, stored: Precision | None = None, **card: Any
) -> Answers:
    """Return a file's answers, with the proof of these logits on its card.

    `stored` is the precision of its weights, where it is not that on the card.
    """
    values = logits.astype(np.float32)
    made = tiny_card(**({"proof": make_proof(values[:4])} | card))
    odds = np.exp(values)
    return Answers(
        Target(name, Path(name), False, "cpu", 1),
        made,
        odds / odds.sum(1, keepdims=True),
        values,
        stored or made.precision,
    )


def accepted(before: float, after: float) -> Acceptance:
    return Acceptance(
        images=24,
        accuracy_before=before,
        accuracy_after=after,
        p_value=1.0,
        max_drop=0.01,
        flips=1,
        max_flips=0.1,
    )


def int8(**card: Any) -> Answers:
    """Return a file in int8 that answers one of four inputs otherwise than in float32."""
    changed = LOGITS + np.array([[0, 0, 0], [0, 0, 1.5], [0, 0, 0], [0, 0, 0]])
    return answers("model.int8.onnx", changed, precision="int8", **card)


def compared(*given: Answers) -> list[ComparedModel]:
    require_consistent(given)
    return compared_models(given)


def test_int8_is_compared_with_float32_and_not_held_to_its_answers() -> None:
    first, other = compared(answers("model.onnx"), int8(acceptance=accepted(0.75, 0.5)))
    assert (first.relation, other.relation) == ("first", "other precision")
    assert (other.max_difference, other.other_labels, other.compared_inputs) == (1.5, 1, 4)
    # Both on the same images, though only one of the cards has been measured.
    assert (first.accuracy, first.accuracy_images) == (0.75, 24)
    assert (other.accuracy, other.accuracy_images) == (0.5, 24)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_tolerance_on_the_card_allows_no_more_than_the_precision_does(precision: Any) -> None:
    wide = msgspec.structs.replace(make_proof(LOGITS), tolerance=1e9)
    with pytest.raises(RefusedError, match="does not compute what its card says"):
        compared(answers("model.onnx", LOGITS + 1, proof=wide, precision=precision))


def test_int8_that_does_not_compute_what_was_accepted_is_refused() -> None:
    with pytest.raises(RefusedError, match="does not compute what its card says") as caught:
        compared(answers("model.onnx"), int8(proof=make_proof(LOGITS)))
    assert caught.value.exit_code == 10
    assert "rtl verify model.int8.onnx" in str(caught.value.hint)


def test_a_proof_of_other_classes_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"shape \(4, 2\)"):
        compared(answers("model.onnx", proof=make_proof(LOGITS[:, :2])))


def test_one_model_in_float32_may_not_have_two_answers() -> None:
    with pytest.raises(RefusedError, match=r"b\.onnx and a\.onnx have the same model"):
        compared(answers("a.onnx"), answers("b.onnx", LOGITS + np.float32(0.1)))


def test_other_weights_may_have_other_answers() -> None:
    metrics = Metrics(
        split="test", images=50, accuracy=0.9, accuracy_interval=(0.8, 1.0), macro_f1=0.9
    )
    _, other = compared(
        answers("a.onnx"), answers("b.onnx", -LOGITS, weights=OTHER, metrics=metrics)
    )
    assert (other.relation, other.other_labels) == ("other model", 4)
    assert (other.accuracy, other.accuracy_split) == (0.9, "test")


def test_two_files_of_another_model_are_held_to_each_other() -> None:
    with pytest.raises(RefusedError, match=r"c\.onnx and b\.onnx"):
        compared(
            answers("a.onnx"),
            answers("b.onnx", -LOGITS, weights=OTHER),
            answers("c.onnx", LOGITS * 2, weights=OTHER),
        )


def test_classes_in_another_order_are_compared_by_name() -> None:
    order = [2, 0, 1]
    classes = tuple(CLASSES[i] for i in order)
    _, other = compared(
        answers("a.onnx"), answers("b.onnx", LOGITS[:, order], weights=OTHER, classes=classes)
    )
    assert (other.max_difference, other.other_labels) == (0.0, 0)


@pytest.mark.parametrize(
    "card", [{"classes": ("a", "b", "c")}, {"task": "multi-label"}], ids=["classes", "task"]
)
def test_answers_of_another_kind_are_not_compared(card: dict[str, Any]) -> None:
    _, other = compared(answers("a.onnx"), answers("b.onnx", weights=OTHER, **card))
    assert (other.compared_inputs, other.max_difference, other.other_labels) == (0, None, None)


def test_sets_of_labels_are_compared_where_an_image_has_several() -> None:
    card: dict[str, Any] = {"task": "multi-label", "threshold": 0.5}
    first = answers("a.onnx", **card)
    probabilities = first.probabilities.copy()
    probabilities[0] = (0.9, 0.9, 0.0)  # two labels in place of one
    target = Target("b.onnx", Path("b.onnx"), False, "cpu", 1)
    second = dataclasses.replace(first, target=target, probabilities=probabilities)
    assert compared_models([first, second])[1].other_labels == 1


def test_a_file_that_another_tool_quantised_is_held_to_nothing_and_said_to_be_changed() -> None:
    metrics = Metrics(
        split="val", images=50, accuracy=0.9, accuracy_interval=(0.8, 1.0), macro_f1=0.9
    )
    first = answers("model.onnx", metrics=metrics)
    quantised = answers(
        "q.onnx", LOGITS + 0.5, stored="int8", metrics=metrics, proof=first.card.proof
    )
    found, changed = compared(first, quantised)
    assert (found.accuracy, changed.accuracy) == (0.9, None)  # the card is of another file
    assert (changed.relation, changed.precision) == ("changed file", "int8")
    assert (changed.max_difference, changed.other_labels) == (0.5, 0)


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ([TensorProto.FLOAT] * 3, "fp32"),
        ([TensorProto.INT8, TensorProto.FLOAT, TensorProto.FLOAT], "int8"),
        ([TensorProto.UINT8, TensorProto.UINT8], "int8"),
        ([TensorProto.FLOAT16, TensorProto.FLOAT16, TensorProto.FLOAT], "fp16"),
        ([], "fp32"),
    ],
)
def test_the_precision_is_read_from_the_weights(
    tmp_path: Path, types: list[int], expected: str
) -> None:
    model = tiny_model()
    del model.graph.initializer[:]
    for number, kind in enumerate(types):
        model.graph.initializer.append(helper.make_tensor(f"w{number}", kind, [1, 2], [1, 2]))
    model.graph.initializer.append(helper.make_tensor("bias", TensorProto.INT8, [2], [1, 2]))
    assert stored_precision(write(model, tmp_path / "model.onnx")) == expected


def test_the_table_shows_accuracy_and_answers_beside_the_speed() -> None:
    shown = repr(
        Benchmark(
            verdict="VALID",
            machine=this_machine(),
            seconds_per_case=1.0,
            models=compared(answers("model.onnx"), int8(acceptance=accepted(0.75, 0.5))),
            left_out=[],
            results=[],
        )
    )
    assert "75.0 % of 24 val" in shown
    assert "50.0 % of 24 val" in shown
    assert "1 of 4 labels differ, logits by up to 1.5" in shown


def test_a_batch_with_other_answers_than_its_images_had_is_no_measurement() -> None:
    item = answers("model.onnx")
    [model] = compared(item)
    batch = np.concatenate([item.logits, item.logits[:2]])
    assert reason_against_answers(item, model, batch) is None
    batch[5, 0] += 0.01
    reason = reason_against_answers(item, model, batch)
    assert reason is not None
    assert reason.kind == "answers differ"
    assert "a batch of 6 has other logits" in reason.detail
    batch[5, 0] = math.nan
    assert reason_against_answers(item, model, batch) is not None


def test_a_changed_file_with_other_labels_is_no_measurement_of_the_model() -> None:
    other = LOGITS.copy()
    other[0] = other[0, ::-1]
    first, changed = answers("model.onnx"), answers("int8.onnx", other, stored="int8")
    _, model = compared(first, changed)
    assert model.relation == "changed file"
    reason = reason_against_answers(changed, model, other)
    assert reason is not None
    assert reason.detail == "1 of 4 labels, in a file that another tool has changed"


def on_bfloat16(difference: float) -> Answers:
    """Return the answers of the float32 file on OpenVINO in bfloat16, off by a difference."""
    made = answers("model.onnx")
    target = dataclasses.replace(made.target, provider="openvino-bf16")
    return dataclasses.replace(made, target=target, logits=made.logits + np.float32(difference))


def test_a_provider_that_rounds_is_held_to_what_int8_is_held_to() -> None:
    require_consistent([answers("model.onnx"), on_bfloat16(0.05)])
    with pytest.raises(RefusedError, match="does not compute what its card says"):
        require_consistent([answers("model.onnx"), on_bfloat16(0.5)])
    other = answers("model.onnx", LOGITS + 0.05, proof=answers("model.onnx").card.proof)
    with pytest.raises(RefusedError):  # on the CPU the same difference is another model
        require_consistent([answers("model.onnx"), other])
