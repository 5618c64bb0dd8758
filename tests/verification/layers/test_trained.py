"""The layers of the trained network: its calls in their order, and copies of their outputs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolchain.backends.layer_names import NORMALISE
from toolchain.backends.torch_eager import EagerBackend
from toolchain.runtime.card import LOGITS
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.verification.layers.trained import (
    convolution_before,
    last_linear,
    trained_calls,
    trained_layers,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)


class Small(nn.Module):
    """A network that calls its in-place ReLU twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.bn1(self.conv1(images)))
        logits: Tensor = self.fc(self.relu(features.mean(dim=(2, 3)) - 1))
        return logits


def eager_of(network: nn.Module) -> EagerBackend:
    def run(pixels: NDArray[np.uint8]) -> ModelOutputs:
        with torch.inference_mode():
            logits = network(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
        return ModelOutputs(logits.softmax(1).numpy(), logits.numpy())

    return cast(EagerBackend, SimpleNamespace(classifier=SimpleNamespace(network=network), run=run))


def test_calls_are_in_their_order_and_later_ones_are_numbered() -> None:
    assert trained_calls(eager_of(Small().eval()), PIXELS) == [
        (NORMALISE, "Small"),
        ("conv1", "Conv2d"),
        ("bn1", "BatchNorm2d"),
        ("relu", "ReLU"),
        ("relu#2", "ReLU"),
        ("fc", "Linear"),
    ]


def test_outputs_are_copies_that_a_later_in_place_module_does_not_change() -> None:
    found = trained_layers(eager_of(Small().eval()), PIXELS, {"bn1", "relu", NORMALISE})
    assert found.keys() == {"bn1", "relu", NORMALISE, LOGITS}
    assert (found["bn1"] < 0).any()
    np.testing.assert_array_equal(found["relu"], np.maximum(found["bn1"], 0))
    np.testing.assert_allclose(found[NORMALISE], PIXELS.transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    assert found[LOGITS].shape == (2, 3)


def test_no_hook_stays_in_the_network() -> None:
    network = Small().eval()
    trained_calls(eager_of(network), PIXELS)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_the_convolution_before_batch_norm_and_the_last_linear_layer_are_named() -> None:
    network = Small()
    assert convolution_before(network, "bn1") == "conv1"
    assert convolution_before(network, "relu") is None
    assert last_linear(network) == "fc"
    assert last_linear(nn.ReLU()) is None
