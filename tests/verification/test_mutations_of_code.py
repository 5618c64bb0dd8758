"""Faults planted in the predictor and the writers of torch's formats: each is caught, by name."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.verification.planting import OFF, Baked, found, require_caught, written
from toolchain.exporters.writers import pt2
from toolchain.runtime import model_inputs
from toolchain.runtime.card import Format, InputKind, Preprocessing
from toolchain.runtime.image import decode, preprocess

pytestmark = pytest.mark.usefixtures("quickly")


def test_a_model_left_in_train_mode_is_caught(
    baked: Baked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = pt2.traced
    monkeypatch.setattr(
        pt2, "traced", lambda inference_model, card: right(inference_model, card).train()
    )
    classifier = copy.deepcopy(baked.classifier)
    path = written(baked, tmp_path / "model.pt2", "pt2", "pixels", classifier)
    where = rf"layer bn1 \(batch_norm in train mode\): {OFF}"
    require_caught(found(path, baked), "numbers", "run", where)


@pytest.mark.parametrize("format", ["torchscript", "pt2"])
@pytest.mark.parametrize("door", ["pixels", "tensor"])
def test_the_formats_of_torch_name_their_layers_too(
    baked: Baked, tmp_path: Path, format: Format, door: InputKind
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


def test_a_program_frozen_at_a_batch_of_one_is_named(
    baked: Baked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pt2, "free_axes", lambda card: (None,))
    monkeypatch.setattr(pt2, "example", lambda card: torch.zeros(1, 64, 64, 3).byte())
    classifier = copy.deepcopy(baked.classifier)
    path = written(baked, tmp_path / "model.pt2", "pt2", "pixels", classifier)
    where = "the batch: it computes 1 image, not 4, and its card allows any number"
    require_caught(found(path, baked), "numbers", "run", where)


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
        (decode._to_rgb, blue_first, "run", r"decode \(val/"),
        (
            decode._oriented,
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
    right = model_inputs.normalised
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
