"""Over-fitting: validation loss rises while training loss falls."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.training.analysis.curves import (
    FEWEST_EPOCHS,
    Row,
    median_filtered,
    noise_deviation,
)

LEAST_RISE = 0.15
"""Share by which validation loss must rise above its lowest value. In runs that had only flattened
out it rose by up to 0.05, or 0.15 with 20 validation images, where noise dominates; in runs that
learned wrong labels by 0.27 to 0.35."""
LEAST_RISE_NATS = 0.05
"""Least rise in nats. A rise from 0.010 to 0.015 is 50 %, and means only that the network is less
confident about one image of many."""
LEAST_RISE_TO_NOISE = 2.5
"""Least rise in standard deviations of the noise. In simulations of noise on a flat curve of up to
100 epochs, one run of 200 rose as much; wrong labels gave 8.5 and more."""
LEAST_FALL = 0.05
"""Share by which training loss must have fallen meanwhile. Where both losses rise, the cause is the
learning rate and not the number of images."""


def over_fitting(rows: Sequence[Row]) -> str | None:
    """Return the evidence of over-fitting or None; all losses must be finite."""
    if len(rows) < FEWEST_EPOCHS:
        return None
    filtered = median_filtered(rows, "val_loss")
    best = min(filtered, key=lambda row: row["val_loss"])
    last = filtered[-1]
    rise = last["val_loss"] - best["val_loss"]
    needed = max(
        LEAST_RISE * best["val_loss"],
        LEAST_RISE_NATS,
        LEAST_RISE_TO_NOISE * noise_deviation([row["val_loss"] for row in rows]),
    )
    fell = last["train_loss"] < (1 - LEAST_FALL) * best["train_loss"]
    if last["epoch"] < best["epoch"] or rise <= needed or not fell:
        return None
    return (
        f"validation loss rose from {best['val_loss']:.3f} (epoch {best['epoch']}) to "
        f"{last['val_loss']:.3f} (epoch {last['epoch']}) while training loss fell from "
        f"{best['train_loss']:.3f} to {last['train_loss']:.3f}"
    )
