"""Write a frozen TorchScript file with the card as an extra file."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from toolchain.runtime.card import CARD_KEY, Card, encode_card
from toolchain.training.models import Served


def write_torchscript(served: Served, card: Card, path: Path) -> None:
    """Write the model to `path`; the caller verifies it."""
    size = card.preprocessing.size
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        # torch announces the end of TorchScript on each call; the format is what was asked for.
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.trace(served, example, check_trace=False))
        torch.jit.save(frozen, str(path), _extra_files={CARD_KEY: encode_card(card)})
