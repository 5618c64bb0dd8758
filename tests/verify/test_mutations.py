"""Planted faults: each is caught, at the right level, and the stage or layer is named."""

from __future__ import annotations

import copy
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.verify import tampering
from tests.verify.tampering import Tampering
from toolchain.errors import ModelFileError, ParityError
from toolchain.export import program
from toolchain.export.export import export
from toolchain.export.program import write_program
from toolchain.export.torchscript import write_torchscript
from toolchain.narrator import Silent
from toolchain.runfolder import RunFolder
from toolchain.runtime import doors, image, preprocess
from toolchain.runtime.card import Door, Format, Preprocessing
from toolchain.runtime.selftest import generated_pixels, make_proof
from toolchain.training.models import Classifier, Served
from toolchain.verify import numbers, sessions
from toolchain.verify.backends import open_backend
from toolchain.verify.levels import Verification, require_parity
from toolchain.verify.verify import verify, verify_backend
from toolchain.verify.workshop import Workshop, open_workshop

TEMPERATURE = 1.7
OFF = r"off by [\d.e+-]+, allowed [\d.e-]+"
WRITERS = {"pt2": write_program, "torchscript": write_torchscript}


class Baked(NamedTuple):
    """A run with a temperature, opened, and its ONNX file."""

    run: RunFolder
    file: Path
    workshop: Workshop

    @property
    def classifier(self) -> Classifier:
        return self.workshop.eager.classifier


@pytest.fixture(scope="module")
def baked(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Baked:
    path = tmp_path_factory.mktemp("mutations") / "run"
    run = RunFolder(shutil.copytree(run_folder, path, ignore=shutil.ignore_patterns("export")))
    run.write_card(msgspec.structs.replace(run.read_card(), temperature=TEMPERATURE))
    [exported] = export(run.path, images=6)
    return Baked(run, exported.path, open_workshop(run, images=6))


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open one kind of session, and leave out the large batch: they take most of the time."""
    monkeypatch.setattr(sessions, "OPTIMISATIONS", ("all",))
    monkeypatch.setattr(numbers, "BATCHES", (1, 2, 5))


def found(path: Path, baked: Baked, *, provider: str = "cpu") -> Verification:
    """Verify with the card and the run; the references have tests of their own."""
    return verify_backend(
        open_backend(path, provider=provider),
        path,
        provider=provider,
        references=None,
        workshop=baked.workshop,
        narrator=Silent(),
    )


def require_caught(result: Verification, level: str, against: str, where: str) -> None:
    """The level fell short, and the last words of the error name the place."""
    assert (level, against) in {(one.level, one.against) for one in result.levels if not one.passed}
    with pytest.raises(ParityError) as caught:
        require_parity(result)
    assert re.search(f"; it begins at {where}", str(caught.value.hint)), caught.value.hint


def written(baked: Baked, path: Path, format: Format, door: Door, classifier: Classifier) -> Path:
    """Write a classifier as a file that claims to be the run's."""
    eager = baked.workshop.eager
    _, logits = eager.run(generated_pixels(eager.card.preprocessing.size))
    card = msgspec.structs.replace(eager.card, format=format, input=door, proof=make_proof(logits))
    WRITERS[format](Served(classifier, card.temperature, card.task).eval(), card, path)
    return path


def test_the_file_without_a_fault_passes_in_every_layer(baked: Baked) -> None:
    result = found(baked.file, baked)
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
    baked: Baked, tmp_path: Path, fault: str
) -> None:
    change, where = FAULTS[fault]
    path = tampering.tampered(baked.file, tmp_path / "changed.onnx", change)
    require_caught(found(path, baked), "numbers", "run", where)


Change = Callable[[torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    ("statistics", "change", "cause"),
    [
        ("running_var", lambda held: held * 1.05, "the variance or weight of layer2.0.bn1 differs"),
        ("running_mean", lambda held: held + 0.01, "the bias or mean of layer2.0.bn1 differs"),
    ],
    ids=["variance", "mean"],
)
def test_statistics_of_batch_norm_are_told_from_the_convolution_they_are_folded_into(
    baked: Baked, tmp_path: Path, statistics: str, change: Change, cause: str
) -> None:
    fault = tampering.refolded(baked.classifier.network, "layer2.0", **{statistics: change})
    path = tampering.tampered(baked.file, tmp_path / "changed.onnx", fault)
    where = rf"layer layer2.0.conv1 with layer2.0.bn1 \(Conv\): {OFF}; {cause} in 128 of 128"
    require_caught(found(path, baked), "numbers", "run", where)


def test_a_layer_in_train_mode_is_named(baked: Baked, tmp_path: Path) -> None:
    fault = tampering.in_train_mode(baked.classifier.network, "layer1.0.bn1")
    path = tampering.tampered(baked.file, tmp_path / "changed.onnx", fault)
    where = rf"layer layer1.0.bn1 \(Add\): {OFF}"
    require_caught(found(path, baked), "numbers", "run", where)


def test_a_model_left_in_train_mode_is_caught(
    baked: Baked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = program.traced
    monkeypatch.setattr(program, "traced", lambda served, card: right(served, card).train())
    classifier = copy.deepcopy(baked.classifier)
    path = written(baked, tmp_path / "model.pt2", "pt2", "pixels", classifier)
    where = rf"layer bn1 \(batch_norm in train mode\): {OFF}"
    require_caught(found(path, baked), "numbers", "run", where)


@pytest.mark.parametrize("format", ["torchscript", "pt2"])
@pytest.mark.parametrize("door", ["pixels", "tensor"])
def test_the_formats_of_torch_name_their_layers_too(
    baked: Baked, tmp_path: Path, format: Format, door: Door
) -> None:
    classifier = copy.deepcopy(baked.classifier)
    right = written(baked, tmp_path / "right", format, door, classifier)
    assert found(right, baked).passed
    with torch.no_grad():
        classifier.network.get_submodule("layer3.1.bn2").get_buffer("running_mean").add_(0.01)
    wrong = written(baked, tmp_path / "wrong", format, door, classifier)
    where = {
        "torchscript": rf"layer layer3.1.conv2 with layer3.1.bn2 \(_convolution\): {OFF}; "
        "the bias or mean of layer3.1.bn2 differs in 256 of 256",
        "pt2": rf"layer layer3.1.bn2 \(batch_norm\): {OFF}; "
        "layer3.1.bn2.running_mean differs in 256 of 256",
    }[format]
    require_caught(found(wrong, baked), "numbers", "run", where)


def test_a_network_with_an_operator_less_is_caught_where_it_is_missing(
    baked: Baked, tmp_path: Path
) -> None:
    classifier = copy.deepcopy(baked.classifier)
    classifier.network.get_submodule("layer1").get_submodule("1").relu = torch.nn.Identity()
    path = written(baked, tmp_path / "wrong", "torchscript", "pixels", classifier)
    where = rf"layer layer1.1.relu \(_convolution\): {OFF}"
    require_caught(found(path, baked), "numbers", "run", where)


def test_class_names_in_another_order_are_found_on_the_card(baked: Baked, tmp_path: Path) -> None:
    change = tampering.other_order_on_the_card
    path = tampering.tampered(baked.file, tmp_path / "changed.onnx", change)
    result = found(path, baked)
    require_caught(result, "card", "run", "the card: classes")
    assert [one.level for one in result.levels if not one.passed] == ["card"]


def test_a_batch_frozen_at_one_inside_the_graph_is_named(baked: Baked, tmp_path: Path) -> None:
    path = tampering.tampered(baked.file, tmp_path / "changed.onnx", tampering.flattened_to_one)
    result = found(path, baked)
    where = "the batch: it computes 1 image, not 4, and its card allows any number"
    require_caught(result, "numbers", "card", where)
    require_caught(result, "numbers", "run", where)


def test_a_program_frozen_at_a_batch_of_one_is_named(
    baked: Baked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "free_axes", lambda card: (None,))
    monkeypatch.setattr(program, "example", lambda card: torch.zeros(1, 64, 64, 3).byte())
    classifier = copy.deepcopy(baked.classifier)
    path = written(baked, tmp_path / "model.pt2", "pt2", "pixels", classifier)
    where = "the batch: it computes 1 image, not 4, and its card allows any number"
    require_caught(found(path, baked), "numbers", "run", where)


def test_an_input_frozen_at_one_is_refused_where_the_card_says_any_number(
    baked: Baked, tmp_path: Path
) -> None:
    path = tampering.tampered(baked.file, tmp_path / "changed.onnx", tampering.batch_of_one)
    with pytest.raises(ModelFileError, match=r"uint8 \[batch, 64, 64, 3\]; it takes .* \[1, 64"):
        verify(path)


@pytest.mark.parametrize("fault", [tampering.softmax_twice, tampering.without_temperature])
def test_a_lone_file_shows_what_is_wrong_behind_its_logits(
    baked: Baked, tmp_path: Path, fault: Tampering
) -> None:
    path = tampering.tampered(baked.file, tmp_path / "changed.onnx", fault)
    require_caught(verify(path), "numbers", "card", r"(softmax|temperature) \(")


def replace_everywhere(
    monkeypatch: pytest.MonkeyPatch, right: Callable[..., Any], wrong: Callable[..., Any]
) -> None:
    """Let all that use a function of the runtime use another one."""
    for name, module in list(sys.modules.items()):
        if name.startswith("toolchain.") and getattr(module, right.__name__, None) is right:
            monkeypatch.setattr(module, right.__name__, wrong)


def without_antialias(picture: Image.Image, p: Preprocessing) -> NDArray[np.uint8]:
    """Resize as a tensor is resized where nobody asks for antialiasing."""
    width, height = preprocess.resized_size(picture.width, picture.height, p.resize_size)
    scale = (picture.width / width, 0, 0, 0, picture.height / height, 0)
    affine, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    resized = picture.transform((width, height), affine, scale, bilinear)
    return np.asarray(resized.crop(preprocess.centre_box(width, height, p.size)))


def with_rounded_long_side(width: int, height: int, short_side: int) -> tuple[int, int]:
    scale = short_side / min(width, height)
    return round(width * scale), round(height * scale)


def off_centre(width: int, height: int, size: int) -> tuple[int, int, int, int]:
    left, top = (width - size) // 2, (height - size) // 2 + 1
    return left, top, left + size, top + size


def blue_first(picture: Image.Image, *_: Any) -> Image.Image:
    red, green, blue = picture.convert("RGB").split()
    return Image.merge("RGB", (blue, green, red))


@pytest.mark.parametrize(
    ("right", "wrong", "against", "where"),
    [
        (preprocess.preprocess, without_antialias, "run", r"resize \(val/"),
        (preprocess.resized_size, with_rounded_long_side, "run", r"resize \(val/"),
        (preprocess.centre_box, off_centre, "run", r"crop: the square is cut from another place"),
        (image._to_rgb, blue_first, "run", r"decode \(val/"),
        (
            image._upright,
            lambda picture: picture,
            "odd kinds",
            r"upright: the EXIF orientation is not applied \(EXIF orientation 2, JPEG\)",
        ),
    ],
    ids=["no antialias", "long side rounded", "off centre", "blue first", "EXIF ignored"],
)
def test_a_fault_in_the_predictors_own_code_is_found_in_the_pixels(
    baked: Baked,
    monkeypatch: pytest.MonkeyPatch,
    right: Callable[..., Any],
    wrong: Callable[..., Any],
    against: str,
    where: str,
) -> None:
    replace_everywhere(monkeypatch, right, wrong)
    require_caught(found(baked.file, baked), "pixels", against, where)


def test_a_predictor_that_normalises_wrongly_is_caught(
    baked: Baked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = copy.deepcopy(baked.classifier)
    path = written(baked, tmp_path / "model", "torchscript", "tensor", classifier)
    right = doors.normalised
    replace_everywhere(
        monkeypatch,
        right,
        lambda pixels, n: right(pixels, msgspec.structs.replace(n, mean=n.std, std=n.mean)),
    )
    where = rf"normalise \(in the predictor\): {OFF}"
    require_caught(found(path, baked), "numbers", "run", where)


def test_a_provider_that_silently_falls_back_is_caught(
    baked: Baked, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    # It is in every build of onnxruntime, and computes nothing by itself.
    idle = "AzureExecutionProvider"
    if idle not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {idle}")
    monkeypatch.setattr(onnxruntime.SessionOptions, "add_session_config_entry", lambda *_: None)
    result = found(baked.file, baked, provider=idle)
    where = rf"the provider: {idle} was asked for, \d+ nodes on cpu"
    require_caught(result, "sessions", "card", where)
    assert [one.level for one in result.levels if not one.passed] == ["sessions"]


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
def test_the_last_line_of_the_error_names_layer_operator_and_difference(
    baked: Baked, tmp_path: Path, change: Tampering, last_words: str
) -> None:
    path = tampering.tampered(baked.file, tmp_path / "changed.onnx", change)
    result = verify(path, run=baked.run.path, images=6)
    with pytest.raises(ParityError, match="fell short") as caught:
        require_parity(result)
    # What `rtl` prints: the error in one line, its hint in the next.
    assert re.search(last_words, str(caught.value.hint))
