"""Faults planted in an ONNX file: each is found at the right level, and its layer is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.verification import tampering
from tests.verification.planting import OFF, ExportedRun, require_caught, verified
from tests.verification.tampering import Tampering
from toolchain.errors import ModelFileError, ParityError
from toolchain.verification.result import require_parity
from toolchain.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quickly")


def test_the_file_without_a_fault_passes_in_every_layer(exported_run: ExportedRun) -> None:
    result = verified(exported_run.file, exported_run)
    assert result.passed
    [level] = [one for one in result.levels if (one.level, one.against) == ("numbers", "run")]
    assert level.figures["layers"] == 41
    require_parity(result)


FAULTS: dict[str, tuple[Tampering, str]] = {
    "mean and std swapped": (tampering.mean_for_std, rf"normalise \(Div\): {OFF}"),
    "blue first": (tampering.blue_first, rf"normalise \(Div\): {OFF}"),
    "all weights of a layer 1 % up": (
        tampering.scaled_weight("layer1.1.conv2", 1.01),
        rf"layer layer1.1.conv2 with layer1.1.bn2 \(Conv\): {OFF}; "
        "layer1.1.conv2.weight is scaled in 64 of 64 channels",
    ),
    "one weight 1 % up": (
        tampering.scaled_largest_weight("conv1", 1.01),
        rf"layer conv1 with bn1 \(Conv\): {OFF}; conv1.weight differs in 1 of 9408 values",
    ),
    "one weight 0.01 % up": (
        tampering.scaled_largest_weight("layer1.0.conv1", 1.0001),
        rf"layer layer1.0.conv1 with layer1.0.bn1 \(Conv\): {OFF}; layer1.0.conv1.weight differs "
        "in 1 of 36864 values",
    ),
    "a bias dropped": (
        tampering.without_bias("layer3.0.bn2"),
        rf"layer layer3.0.conv2 with layer3.0.bn2 \(Conv\): {OFF}; the bias is missing",
    ),
    "the head's bias dropped": (
        tampering.without_head_bias,
        rf"layer fc \(Gemm\): {OFF}; fc.bias differs in 3 of 3 values",
    ),
    "rows of the head permuted": (
        tampering.other_order_of_outputs,
        rf"layer fc \(Gemm\): {OFF}; fc.weight has its rows in another order",
    ),
    "weights that are no numbers": (
        tampering.weights_that_are_no_numbers,
        r"layer fc \(Gemm\): off by nan, .*; fc.weight differs in 1536 of 1536 values",
    ),
    "a shortcut cut": (tampering.without_shortcut, rf"layer layer2.0.relu#2 \(Relu\): {OFF}"),
    "softmax twice": (
        tampering.softmax_twice,
        rf"softmax \(Softmax\): the probabilities are {OFF}, it is applied twice",
    ),
    "temperature lost": (
        tampering.without_temperature,
        rf"temperature \(Div\): 1 instead of 1.7, the probabilities are {OFF}",
    ),
    "another temperature": (
        tampering.hotter_softmax,
        rf"temperature \(Div\): 3.4 instead of 1.7, the probabilities are {OFF}",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_file_is_found_in_the_numbers(
    exported_run: ExportedRun, tmp_path: Path, fault: str
) -> None:
    change, where = FAULTS[fault]
    path = tampering.tampered(exported_run.file, tmp_path / "changed.onnx", change)
    require_caught(verified(path, exported_run), "numbers", "run", where)


Change = Callable[[torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    ("statistics", "change", "cause"),
    [
        (
            "running_var",
            lambda tensor: tensor * 1.05,
            "the variance or weight of layer2.0.bn1 differs",
        ),
        ("running_mean", lambda tensor: tensor + 0.01, "the bias or mean of layer2.0.bn1 differs"),
    ],
    ids=["variance", "mean"],
)
def test_batch_norm_statistics_are_distinguished_from_the_folded_convolution(
    exported_run: ExportedRun, tmp_path: Path, statistics: str, change: Change, cause: str
) -> None:
    fault = tampering.refolded(exported_run.classifier.network, "layer2.0", **{statistics: change})
    path = tampering.tampered(exported_run.file, tmp_path / "changed.onnx", fault)
    where = rf"layer layer2.0.conv1 with layer2.0.bn1 \(Conv\): {OFF}; {cause} in 128 of 128"
    require_caught(verified(path, exported_run), "numbers", "run", where)


def test_a_layer_in_train_mode_is_named(exported_run: ExportedRun, tmp_path: Path) -> None:
    fault = tampering.in_train_mode(exported_run.classifier.network, "layer1.0.bn1")
    path = tampering.tampered(exported_run.file, tmp_path / "changed.onnx", fault)
    where = rf"layer layer1.0.bn1 \(Add\): {OFF}"
    require_caught(verified(path, exported_run), "numbers", "run", where)


def test_class_names_in_another_order_are_found_on_the_card(
    exported_run: ExportedRun, tmp_path: Path
) -> None:
    change = tampering.other_order_on_the_card
    path = tampering.tampered(exported_run.file, tmp_path / "changed.onnx", change)
    result = verified(path, exported_run)
    require_caught(result, "card", "run", "the card: classes")
    assert [one.level for one in result.levels if not one.passed] == ["card"]


def test_a_batch_frozen_at_one_inside_the_graph_is_named(
    exported_run: ExportedRun, tmp_path: Path
) -> None:
    path = tampering.tampered(
        exported_run.file, tmp_path / "changed.onnx", tampering.flattened_to_one
    )
    result = verified(path, exported_run)
    where = "the batch: it computes 1 image, not 4, and its card allows any number"
    require_caught(result, "numbers", "card", where)
    require_caught(result, "numbers", "run", where)


def test_an_input_frozen_at_one_is_refused_where_the_card_says_any_number(
    exported_run: ExportedRun, tmp_path: Path
) -> None:
    path = tampering.tampered(exported_run.file, tmp_path / "changed.onnx", tampering.batch_of_one)
    with pytest.raises(ModelFileError, match=r"uint8 \[batch, 64, 64, 3\]; it takes .* \[1, 64"):
        verify(path)


@pytest.mark.parametrize("fault", [tampering.softmax_twice, tampering.without_temperature])
def test_a_wrong_stage_behind_the_logits_is_found_in_a_lone_file(
    exported_run: ExportedRun, tmp_path: Path, fault: Tampering
) -> None:
    path = tampering.tampered(exported_run.file, tmp_path / "changed.onnx", fault)
    require_caught(verify(path), "numbers", "card", r"(softmax|temperature) \(")


@pytest.mark.parametrize(
    ("change", "last_words"),
    [
        (
            tampering.scaled_weight("layer4.0.conv2", 1.01),
            rf"layer layer4.0.conv2 with layer4.0.bn2 \(Conv\): {OFF}; layer4.0.conv2.weight is "
            r"scaled in 512 of 512 channels$",
        ),
        (
            tampering.other_std,
            rf"normalise \(Div\): {OFF}$",
        ),
    ],
    ids=["a layer", "normalise"],
)
def test_the_hint_of_the_error_ends_with_layer_operator_and_difference(
    exported_run: ExportedRun, tmp_path: Path, change: Tampering, last_words: str
) -> None:
    path = tampering.tampered(exported_run.file, tmp_path / "changed.onnx", change)
    result = verify(path, run=exported_run.run.path, images=6)
    with pytest.raises(ParityError, match=" failed: ") as caught:
        require_parity(result)
    # What `rtl` prints: the error in one line, its hint in the next.
    assert re.search(last_words, str(caught.value.hint))
