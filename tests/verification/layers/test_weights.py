"""Which weights of a layer are not the run's, by the numbers that a file holds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolchain.runtime.card import LOGITS
from toolchain.verification.layers.outputs import LayerOutput
from toolchain.verification.layers.weights import diff_weights

Weights = dict[str, NDArray[np.float32]]


class Small(nn.Module):
    """A convolution, a BatchNorm layer with running statistics, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = nn.Conv2d(3, 8, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 4)
        for name, tensor in self.bn1.state_dict().items():
            if name != "num_batches_tracked":
                tensor.copy_(torch.rand(8) + 0.5)


def folded(network: Small) -> Weights:
    """Return the convolution with BatchNorm folded into it, as an exporter computes it."""
    bn = network.bn1
    assert bn.running_mean is not None
    assert bn.running_var is not None
    by = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    weight = network.conv1.weight * by[:, None, None, None]
    bias = bn.bias - bn.running_mean * by
    return {"weight": weight.detach().numpy(), "bias": bias.detach().numpy()}


def difference_of(weights: Weights, name: str = "bn1") -> str | None:
    return diff_weights(Small(), LayerOutput(name, "Conv", np.zeros(1, np.float32), weights))


def test_the_runs_own_weights_do_not_differ() -> None:
    network = Small()
    assert difference_of(folded(network)) is None
    head = {"weight": network.fc.weight.detach().numpy(), "bias": network.fc.bias.detach().numpy()}
    assert difference_of(head, LOGITS) is None
    unfolded = {"weight": network.conv1.weight.detach().numpy()}
    assert difference_of(unfolded, "conv1") is None


def scale(by: float) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor * by


def one_value(by: float) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor[2].reshape(-1)[0].mul_(by)
        return tensor

    return change


@pytest.mark.parametrize(
    ("tensor", "change", "expected"),
    [
        ("bn1.running_mean", scale(1.01), "the bias or mean of bn1 differs in 8 of 8 values"),
        ("bn1.bias", one_value(1.01), "the bias or mean of bn1 differs in 1 of 8 values"),
        (
            "bn1.running_var",
            scale(1.01),
            "the variance or weight of bn1 differs in 8 of 8 channels",
        ),
        ("bn1.weight", one_value(1.01), "the variance or weight of bn1 differs in 1 of 8 channels"),
        ("conv1.weight", scale(1.01), "conv1.weight is scaled in 8 of 8 channels"),
        (
            "conv1.weight",
            one_value(1.01),
            "conv1.weight differs in 1 of 216 values, the most in [2",
        ),
        ("conv1.weight", lambda t: t.flip(1), "conv1.weight differs in "),
    ],
)
def test_of_a_folded_pair_the_layer_that_was_changed_is_named(
    tensor: str, change: Callable[[Tensor], Tensor], expected: str
) -> None:
    network = Small()
    changed = network.state_dict()[tensor]
    changed.copy_(change(changed.clone()))
    found = difference_of(folded(network))
    assert found is not None
    assert found.startswith(expected)


def test_a_bias_that_is_missing_is_named() -> None:
    weights = folded(Small())
    expected = "the bias is missing that bn1 leaves in conv1"
    assert difference_of({"weight": weights["weight"]}) == expected
    assert difference_of({**weights, "bias": 0 * weights["bias"]}) == expected
    head = {"weight": Small().fc.weight.detach().numpy()}
    assert difference_of(head, LOGITS) == "fc.bias is missing"


def test_the_value_with_the_largest_difference_is_named() -> None:
    network = Small()
    weight = network.fc.weight.detach().numpy().copy()
    weight[1, 3], weight[2, 5] = 7.5, -0.25
    head = {"weight": weight, "bias": network.fc.bias.detach().numpy()}
    right = f"{network.fc.weight[1, 3].item():.4g}"
    assert difference_of(head, LOGITS) == (
        f"fc.weight differs in 2 of 32 values, the most in [1, 3]: 7.5 instead of {right}"
    )


def test_rows_in_another_order_are_found() -> None:
    network = Small()
    head = {
        "weight": network.fc.weight.detach().numpy()[[1, 0, 2, 3]],
        "bias": network.fc.bias.detach().numpy()[[1, 0, 2, 3]],
    }
    assert difference_of(head, LOGITS) == "fc.weight has its rows in another order"


def test_a_weight_that_is_nan_differs() -> None:
    weights = folded(Small())
    assert difference_of({**weights, "weight": weights["weight"] * np.float32("nan")}) is not None
    assert difference_of({**weights, "bias": weights["bias"] * np.float32("nan")}) is not None


@pytest.mark.parametrize("name", ["conv1", "bn1", LOGITS])
def test_a_layer_without_weights_or_of_another_shape_is_not_compared(name: str) -> None:
    assert difference_of({}, name) is None
    own = folded(Small())
    transposed = {"weight": own["weight"].T, "bias": np.zeros(8, np.float32)}
    found = difference_of({**own, **transposed}, name) if name == "bn1" else None
    assert found is None
