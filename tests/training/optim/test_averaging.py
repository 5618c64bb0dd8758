from __future__ import annotations

import pytest
import torch
from torch import nn

from toolchain.networks.resnet import State
from toolchain.training.optim.averaging import MovingAverage, copy_into


def make_weights() -> State:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3)
    norm(torch.randn(5, 3))
    return norm.state_dict(keep_vars=True) | {"matrix": torch.randn(4, 3)}


def step(weights: State) -> None:
    """Change every tensor, as a step of training does."""
    with torch.no_grad():
        for tensor in weights.values():
            tensor.add_(1 if tensor.dtype == torch.int64 else torch.randn(tensor.shape))


def test_the_average_follows_its_formula() -> None:
    weights = make_weights()
    expected = weights["matrix"].double()
    average = MovingAverage(weights, decay=0.9)
    for number in range(1, 121):
        step(weights)
        average.update()
        # The decay is that of the setting once (1 + n) / (10 + n) has come up to it: from n = 80.
        decay = min(0.9, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * weights["matrix"].double()
    assert torch.allclose(average.average["matrix"].double(), expected, atol=1e-5)


def test_the_first_steps_leave_little_of_the_start() -> None:
    weights: State = {"weight": torch.zeros(1)}
    average = MovingAverage(weights, decay=0.999)
    weights["weight"] += 1.0
    for _ in range(10):
        average.update()
    # With the decay of 0.999 from the first step on, 0.99 of the start would be left.
    assert average.average["weight"].item() > 0.99


def test_counters_are_copied_and_not_averaged() -> None:
    weights = make_weights()
    average = MovingAverage(weights, decay=0.9)
    for _ in range(5):
        step(weights)
    average.update()
    assert weights["num_batches_tracked"].item() == 6
    assert average.average["num_batches_tracked"].item() == 6


@pytest.mark.parametrize("fails", [False, True])
def test_the_weights_come_back_bit_for_bit(fails: bool) -> None:
    weights = make_weights()
    average = MovingAverage(weights, decay=0.5)
    step(weights)
    average.update()
    before = {name: tensor.detach().clone() for name, tensor in weights.items()}
    places = {name: tensor.data_ptr() for name, tensor in weights.items()}
    try:
        with average.swapped_in():
            inside = {name: tensor.detach().clone() for name, tensor in weights.items()}
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert same(inside, average.average)
    assert not torch.equal(inside["matrix"], before["matrix"])
    assert same(weights, before)
    # In place: the optimiser keeps its references to the tensors.
    assert {name: tensor.data_ptr() for name, tensor in weights.items()} == places


def test_changes_of_the_weights_while_swapped_in_leave_the_average() -> None:
    weights = make_weights()
    average = MovingAverage(weights, decay=0.5)
    step(weights)
    average.update()
    before = {name: tensor.clone() for name, tensor in average.average.items()}
    with average.swapped_in():
        step(weights)
    assert same(average.average, before)


def test_copying_into_a_parameter_keeps_it_a_leaf_that_requires_a_gradient() -> None:
    weight = nn.Parameter(torch.zeros(3))
    copy_into({"weight": weight}, {"weight": torch.tensor([1.0, 2.0, 3.0])})
    assert weight.tolist() == [1.0, 2.0, 3.0]
    assert weight.is_leaf
    assert weight.requires_grad


def same(left: State, right: State) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)
