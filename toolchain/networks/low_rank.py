"""Convolutions whose weight is a frozen one plus a product of two small matrices (LoRA).

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", for convolutions of any number
of groups: the weight [out, in / groups, height, width] is taken as a matrix with a row for each
output channel. Training and the merged network compute with the same sum, so merging changes
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from toolchain.networks.resnet import State

SCALE = 2.0
"""Factor of the product. The usual choice, alpha / rank with an alpha of twice the rank."""
DOWN, UP = "low_rank.down", "low_rank.up"
"""The matrices' names below that of their convolution."""


class LowRankProduct(nn.Module):
    """The difference to a weight of `rows` output channels with `columns` values each.

    `up` begins as zeros, so that the network begins as the frozen one.
    """

    def __init__(self, rows: int, columns: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        # As nn.Linear draws its weights.
        down = torch.empty(rank, columns).uniform_(-1, 1, generator=generator)
        self.down = nn.Parameter(down / math.sqrt(columns))
        self.up = nn.Parameter(torch.zeros(rows, rank))


class LowRankConv2d(nn.Conv2d):
    """A convolution with the weight of another one and a trainable difference to it."""

    low_rank: LowRankProduct

    @classmethod
    def of(cls, conv: nn.Conv2d, rank: int, generator: torch.Generator) -> LowRankConv2d:
        """Return a convolution that shares the parameters of `conv`."""
        adapted = cls.__new__(cls)
        adapted.__dict__ = {
            **conv.__dict__,
            "_parameters": dict(conv._parameters),
            "_modules": {},
        }
        rows, columns = conv.weight.flatten(1).shape
        product = LowRankProduct(rows, columns, min(rank, rows, columns), generator)
        adapted.low_rank = product.to(conv.weight.device)
        return adapted

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of `input` with the sum of both weights."""
        # In full precision under autocast too, which then rounds the sum as it would the weight.
        with torch.autocast(input.device.type, enabled=False):
            weight = sum_of(self.weight, self.low_rank.down, self.low_rank.up)
        output: Tensor = self._conv_forward(input, weight, self.bias)
        return output


def sum_of(weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """Return a convolution's weight with the product of `up` and `down` added."""
    return torch.addmm(weight.flatten(1), up, down, alpha=SCALE).view_as(weight)


def add_low_rank(network: nn.Module, layers: Iterable[str], rank: int, seed: int) -> None:
    """Give these convolutions of `network` a trainable difference of rank `rank` or less.

    The matrices depend on the seed only.
    """
    generator = torch.Generator().manual_seed(seed)
    for name in layers:
        parent, _, own = name.rpartition(".")
        conv = network.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        setattr(network.get_submodule(parent), own, LowRankConv2d.of(conv, rank, generator))


def merged(state: State) -> State:
    """Return a state dict in which the products are added to their weights, under plain names."""
    plain = {name: tensor for name, tensor in state.items() if "low_rank." not in name}
    for name, up in state.items():
        conv, found, _ = name.rpartition(f".{UP}")
        if found:
            weight = f"{conv}.weight"
            plain[weight] = sum_of(plain[weight], state[f"{conv}.{DOWN}"], up)
    return plain
