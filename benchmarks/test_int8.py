"""What int8 saves on a CPU: time and size beside float32, in one process on one thread.

The networks have random weights, on which neither figure depends, and see drawn machined parts.
The ratio is the median of paired rounds, as `rtl export --precision int8` measures it.

    pytest benchmarks/test_int8.py -s --benchmark-only
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.networks import card_of
from toolchain.demo.parts import CLASSES, draw_part
from toolchain.exporters.precision.acceptance import speed_ratio
from toolchain.exporters.precision.quantise import Quantiser
from toolchain.exporters.writers.onnx import build_onnx, finish
from toolchain.networks.resnet import (
    IMAGENET_NORMALISATION,
    Classifier,
    InferenceModel,
    build_network,
)
from toolchain.runtime.image.preprocess import preprocess
from toolchain.runtime.predictor import Predictor

BARS = {"resnet18": 1.8, "resnet50": 2.0}
"""Architecture → how many times as fast as float32 int8 must be."""
LARGEST_SHARE = 0.27
"""Largest size of the int8 file, as a share of the float32 file's."""
CALIBRATION_IMAGES = 32


@pytest.mark.parametrize("arch", BARS)
def test_int8_beside_float(benchmark: BenchmarkFixture, tmp_path: Path, arch: str) -> None:
    card = card_of(arch)
    network = build_network(arch, len(CLASSES)).eval()
    inference_model = InferenceModel(Classifier(network, IMAGENET_NORMALISATION), 1.0).eval()
    pixels = np.stack(
        [
            preprocess(draw_part(CLASSES[i % len(CLASSES)], i), card.preprocessing)
            for i in range(CALIBRATION_IMAGES)
        ]
    )
    fp32 = build_onnx(inference_model, card)
    int8 = Quantiser(fp32, card, pixels, "minmax").quantised()
    paths = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    finish(fp32, card, paths[0])
    finish(int8, msgspec.structs.replace(card, precision="int8"), paths[1])
    before, after = (Predictor(path, threads=1) for path in paths)
    ratio = benchmark.pedantic(speed_ratio, (before, after, pixels[:1]), rounds=1)
    share = paths[1].stat().st_size / paths[0].stat().st_size
    benchmark.extra_info.update(ratio=ratio, share=share)
    print(
        f"\n{arch}: int8 is {ratio:.2f} × as fast as fp32 at one thread (bar {BARS[arch]:g}), "
        f"its file {share:.2f} × as large (bar {LARGEST_SHARE:g})"
    )
    assert ratio >= BARS[arch]
    assert share <= LARGEST_SHARE
