"""Random streams that follow from a few numbers, so that nothing else can change them."""

from __future__ import annotations

import numpy as np
import torch


def mixed_seed(*numbers: int) -> int:
    """Return one seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def seed_view(*numbers: int) -> None:
    """Seed torch's CPU generator for one view of one image.

    A view depends on these numbers alone, so the number of worker processes changes nothing.
    """
    # Not torch.manual_seed: it seeds every kind of device, at a hundred times the cost.
    torch.default_generator.manual_seed(mixed_seed(*numbers))
