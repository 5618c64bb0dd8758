"""Seeds that are derived from a few numbers, such as the run's seed, the epoch and the image."""

from __future__ import annotations

import numpy as np
import torch


def mixed_seed(*numbers: int) -> int:
    """Return a seed that depends on all of these numbers, in 0…2^64 - 1."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def seed_view(*numbers: int) -> None:
    """Seed torch's CPU generator for the augmentation of one image.

    The augmented view then depends on these numbers alone, and not on the worker process.
    """
    # Not torch.manual_seed: it seeds all devices too and takes a hundred times longer.
    torch.default_generator.manual_seed(mixed_seed(*numbers))
