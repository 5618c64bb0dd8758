"""Faults in the predictor and in the writers of torch's formats: each is found and named."""

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

from tests.verification.planting import OFF, ExportedRun, require_caught, verified, written
from toolchain.exporters.writers import pt2
from toolchain.exporters.writers.traced import traced
from toolchain.runtime import model_inputs
from toolchain.runtime.card import Format, InputKind, Preprocessing
from toolchain.runtime.image import decode, preprocess

pytestmark = pytest.mark.usefixtures("quickly")


def test_a_model_left_in_train_mode_is_caught(
    exported_run: ExportedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        pt2, "traced", lambda inference_model, card: traced(inference_model, card).train()
    )
    classifier = copy.deepcopy(exported_run.classifier)
    path = written(exported_run, tmp_path / "model.pt2", "pt2", "pixels", classifier)
    where = rf"layer bn1 \(batch_norm in train mode\): {OFF}"
    require_caught(verified(path, exported_run), "numbers", "run", where)


@pytest.mark.parametrize("format", ["torchscript", "pt2"])
@pytest.mark.parametrize("input_kind", ["pixels", "tensor"])
def test_the_formats_of_torch_name_their_layers_too(
    exported_run: ExportedRun, tmp_path: Path, format: Format, input_kind: InputKind
) -> None:
    classifier = copy.deepcopy(exported_run.classifier)
    right = written(exported_run, tmp_path / "right", format, input_kind, classifier)
    assert verified(right, exported_run).passed
    with torch.no_grad():
        classifier.network.get_submodule("layer3.1.bn2").get_buffer("running_mean").add_(0.01)
    wrong = written(exported_run, tmp_path / "wrong", format, input_kind, classifier)
    where = {
        "torchscript": rf"layer layer3.1.conv2 with layer3.1.bn2 \(_convolution\): {OFF}; "
        "the bias or mean of layer3.1.bn2 differs in 256 of 256",
        "pt2": rf"layer layer3.1.bn2 \(batch_norm\): {OFF}; "
        "layer3.1.bn2.running_mean differs in 256 of 256",
    }[format]
    require_caught(verified(wrong, exported_run), "numbers", "run", where)


def test_a_missing_operator_is_found_at_its_layer(
    exported_run: ExportedRun, tmp_path: Path
) -> None:
    classifier = copy.deepcopy(exported_run.classifier)
    classifier.network.get_submodule("layer1").get_submodule("1").relu = torch.nn.Identity()
    path = written(exported_run, tmp_path / "wrong", "torchscript", "pixels", classifier)
    where = rf"layer layer1.1.relu \(_convolution\): {OFF}"
    require_caught(verified(path, exported_run), "numbers", "run", where)


def test_a_program_frozen_at_a_batch_of_one_is_named(
    exported_run: ExportedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pt2, "free_axes", lambda card: (None,))
    monkeypatch.setattr(pt2, "example", lambda card: torch.zeros(1, 64, 64, 3).byte())
    classifier = copy.deepcopy(exported_run.classifier)
    path = written(exported_run, tmp_path / "model.pt2", "pt2", "pixels", classifier)
    where = "the batch: it computes 1 image, not 4, and its card allows any number"
    require_caught(verified(path, exported_run), "numbers", "run", where)


def replace_everywhere(
    monkeypatch: pytest.MonkeyPatch, right: Callable[..., Any], wrong: Callable[..., Any]
) -> None:
    """Replace a function of the runtime in every module that imports it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("toolchain.") and getattr(module, right.__name__, None) is right:
            monkeypatch.setattr(module, right.__name__, wrong)


def without_antialias(picture: Image.Image, p: Preprocessing) -> NDArray[np.uint8]:
    """Resize without antialiasing, which is the default for tensors in PyTorch."""
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
            "image formats",
            r"upright: the EXIF orientation is not applied \(EXIF orientation 2, JPEG\)",
        ),
    ],
    ids=["no antialias", "long side rounded", "off centre", "blue first", "EXIF ignored"],
)
def test_a_fault_in_the_predictors_own_code_is_found_in_the_pixels(
    exported_run: ExportedRun,
    monkeypatch: pytest.MonkeyPatch,
    right: Callable[..., Any],
    wrong: Callable[..., Any],
    against: str,
    where: str,
) -> None:
    replace_everywhere(monkeypatch, right, wrong)
    require_caught(verified(exported_run.file, exported_run), "pixels", against, where)


def test_a_predictor_that_normalises_wrongly_is_caught(
    exported_run: ExportedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = copy.deepcopy(exported_run.classifier)
    path = written(exported_run, tmp_path / "model", "torchscript", "tensor", classifier)
    right = model_inputs.normalised
    replace_everywhere(
        monkeypatch,
        right,
        lambda pixels, n: right(pixels, msgspec.structs.replace(n, mean=n.std, std=n.mean)),
    )
    where = rf"normalise \(in the predictor\): {OFF}"
    require_caught(verified(path, exported_run), "numbers", "run", where)


def test_a_provider_that_silently_falls_back_is_caught(
    exported_run: ExportedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    # It is in every build of onnxruntime, and computes nothing by itself.
    idle = "AzureExecutionProvider"
    if idle not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {idle}")
    monkeypatch.setattr(onnxruntime.SessionOptions, "add_session_config_entry", lambda *_: None)
    result = verified(exported_run.file, exported_run, provider=idle)
    where = rf"the provider: {idle} was asked for, \d+ nodes on cpu"
    require_caught(result, "sessions", "card", where)
    assert [one.level for one in result.levels if not one.passed] == ["sessions"]
