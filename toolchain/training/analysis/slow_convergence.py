"""Slow convergence: nothing was learned, or the losses fell little and still fall steadily."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.runs.settings import FinetuneSettings
from toolchain.training.analysis.curves import (
    Row,
    first_step_losses,
    is_finite,
    loss_of_guessing,
    median_filtered,
)

FEWEST_EPOCHS_TO_BE_SLOW = 6
"""Epochs after the warm-up. In fewer epochs a sound network that is trained from scratch may still
be at the loss of guessing."""
LITTLE_FALL = 0.25
"""Both losses have fallen by less than this share. In sound runs training loss fell by 0.34 and
more, with strong MixUp too, and validation loss by 0.44 and more; with a fiftieth of the learning
rate both fell by 0.11 to 0.19."""
STEADY = 0.4
"""Least fall in the second half of a run, relative to that in the first, to count as still falling.
A fiftieth of the learning rate gave 0.68 to 1.01; runs that converged within 8 epochs gave at most
0.33. It excludes runs on data that no network learns well."""
NEAR_GUESSING = 0.9
"""Both losses are above this share of the loss of guessing, so that next to nothing was learned,
whether they still fall or not."""
WORSE_THAN_GUESSING = 1.5
"""From this multiple of the loss of guessing on, the network has not stood still but diverged."""
STANDING_STILL, LOW_ACCURACY = 0.02, 0.6
"""Where the loss of guessing is not known: the losses have fallen by less than the first value
since the first epoch, and the accuracies are below the second, which excludes runs that learned
everything in the first epoch."""


def slow_convergence(
    rows: Sequence[Row], settings: FinetuneSettings, classes: int | None
) -> str | None:
    """Return the evidence of slow convergence or None; all losses must be finite."""
    if len(rows) - settings.warmup_epochs < FEWEST_EPOCHS_TO_BE_SLOW:
        return None
    guessing = loss_of_guessing(settings, classes)
    return _learned_nothing(rows, guessing) or _still_falling(rows, guessing)


def _learned_nothing(rows: Sequence[Row], guessing: float | None) -> str | None:
    last = median_filtered(rows, "train_loss")[-1]
    last_val = median_filtered(rows, "val_loss")[-1]
    now = (
        f"training loss was {last['train_loss']:.3f} in epoch {last['epoch']} and validation loss "
        f"{last_val['val_loss']:.3f} in epoch {last_val['epoch']}"
    )
    if guessing is not None:
        lowest = min(last["train_loss"], last_val["val_loss"])
        hardly = f"{now}, hardly better than the {guessing:.3f} of guessing"
        highest = max(last["train_loss"], last_val["val_loss"])
        stands_still = highest < WORSE_THAN_GUESSING * guessing
        return hardly if lowest > NEAR_GUESSING * guessing and stands_still else None
    first = rows[0]
    ratios = [last[key] / first[key] for key in ("train_loss", "val_loss") if first[key]]
    remaining = min(ratios, default=0.0)
    accuracy = max(last["train_accuracy"], last["val_accuracy"])
    if remaining > 1 - STANDING_STILL and accuracy < LOW_ACCURACY:
        return f"{now}, after {first['train_loss']:.3f} and {first['val_loss']:.3f} in the first"
    return None


def _still_falling(rows: Sequence[Row], guessing: float | None) -> str | None:
    first, last = rows[0], median_filtered(rows, "train_loss")[-1]
    if not (_falls_little(rows, guessing) and _falls_steadily(rows)):
        return None
    return (
        f"training loss fell only from {first['train_loss']:.3f} (epoch {first['epoch']}) to "
        f"{last['train_loss']:.3f} (epoch {last['epoch']}), and was still falling"
    )


def _falls_little(rows: Sequence[Row], guessing: float | None) -> bool:
    """Return whether both losses have fallen by little from those of the untrained network."""
    # Not the first epoch alone: in many steps the loss may fall far within it.
    untrained = [loss for loss in first_step_losses(rows)[:1] if is_finite(loss)]
    starts = {
        "train_loss": max([rows[0]["train_loss"], guessing or 0.0, *untrained]),
        "val_loss": max(rows[0]["val_loss"], guessing or 0.0),
    }
    return all(
        median_filtered(rows, key)[-1][key] > (1 - LITTLE_FALL) * start
        for key, start in starts.items()
    )


def _falls_steadily(rows: Sequence[Row]) -> bool:
    """Return whether training loss falls in the second half nearly as much as in the first."""
    losses: list[float] = [row["train_loss"] for row in median_filtered(rows, "train_loss")]
    first_fall = losses[0] - losses[len(losses) // 2]
    second_fall = losses[len(losses) // 2] - losses[-1]
    return second_fall > max(0.0, STEADY * first_fall)
