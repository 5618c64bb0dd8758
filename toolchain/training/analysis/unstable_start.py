"""An unstable start: the loss swings or is far above guessing, as at too high a learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from toolchain.runs.settings import FinetuneSettings
from toolchain.training.analysis.curves import (
    FEWEST_EPOCHS,
    Row,
    first_step_losses,
    is_finite,
    loss_of_guessing,
)

EARLY_EPOCHS = 6
"""Number of epochs, after the warm-up, that count as the start."""
SWING_OF_STEPS, STEPS_IN_A_ROW = 2.0, 5
"""Factor by which the loss must rise from the first step within the first steps, as the median of
this many steps in a row. In sound runs it stayed below 1.24, with batches of four images too, where
single steps reached 2.1; learning rates a hundred times too high gave 2.8 to 24, or did no harm."""
SWING_OF_EPOCHS = 1.5
"""Factor by which the loss must rise from an epoch to the next, or in an early epoch above that of
the untrained network. In sound runs it stayed below 1.2, with mixed labels and few images too."""
LEAST_SWING_NATS = 0.2
"""Least rise in nats. Where the loss is near 0, factors mean nothing."""
ABOVE_ANY_GUESSING = 10.0
"""A mean loss in nats that no number of classes explains; guessing among 22,000 classes costs
10."""
RUN_AWAY = 100.0
"""A validation loss in nats from which weights or the statistics of norms have run away; a sound
run from scratch reached 12 in its second epoch."""
STRICTNESS_OF_SHORT_RUNS = 2.0
"""The factors are this many times larger in runs shorter than FEWEST_EPOCHS."""


def unstable_start(
    history: Sequence[Row], settings: FinetuneSettings, classes: int | None
) -> str | None:
    """Return the evidence of an unstable start or None; losses may be None or not finite."""
    early = history[: EARLY_EPOCHS + settings.warmup_epochs]
    strictness = STRICTNESS_OF_SHORT_RUNS if len(history) < FEWEST_EPOCHS else 1.0
    return (
        _not_a_number(early)
        or _swing_of_steps(early, strictness)
        or _far_above_guessing(early, settings, classes, strictness)
        or _swing_of_epochs(early, strictness)
    )


def _not_a_number(early: Sequence[Row]) -> str | None:
    for row in early:
        for key, name in (("train_loss", "training"), ("val_loss", "validation")):
            if not is_finite(row[key]):
                return f"the {name} loss of epoch {row['epoch']} is not a number"
    return None


def _swing_of_steps(early: Sequence[Row], strictness: float) -> str | None:
    losses = [loss for loss in first_step_losses(early) if is_finite(loss)]
    if len(losses) < STEPS_IN_A_ROW:
        return None
    starts = range(len(losses) - STEPS_IN_A_ROW + 1)
    level = max(median(losses[start : start + STEPS_IN_A_ROW]) for start in starts)
    if not _swings(losses[0], level, SWING_OF_STEPS * strictness):
        return None
    return (
        f"training loss rose from {losses[0]:.3f} at the first step to {max(losses):.3f} within "
        f"the first {len(losses)}"
    )


def _far_above_guessing(
    early: Sequence[Row], settings: FinetuneSettings, classes: int | None, strictness: float
) -> str | None:
    # Preferably the measured loss of the first step, which is focal or weighted as in training.
    measured = [loss for loss in first_step_losses(early)[:1] if is_finite(loss)]
    plain = None if settings.class_weights else loss_of_guessing(settings, classes)
    guessing = measured[0] if measured else plain
    for row in early:
        loss, epoch = row["train_loss"], row["epoch"]
        if guessing and _swings(guessing, loss, SWING_OF_EPOCHS * strictness):
            return (
                f"training loss was {loss:.3f} in epoch {epoch}, far above the {guessing:.3f} of "
                "the untrained network"
            )
        if loss > ABOVE_ANY_GUESSING:
            return f"training loss was {loss:.3f} in epoch {epoch}, far worse than guessing"
        if row["val_loss"] > RUN_AWAY:
            far = f"validation loss was {row['val_loss']:.3f} in epoch {epoch}"
            return f"{far}, far worse than guessing"
    return None


def _swing_of_epochs(early: Sequence[Row], strictness: float) -> str | None:
    for before, after in pairwise(early):
        if _swings(before["train_loss"], after["train_loss"], SWING_OF_EPOCHS * strictness):
            return (
                f"training loss rose from {before['train_loss']:.3f} (epoch {before['epoch']}) to "
                f"{after['train_loss']:.3f} (epoch {after['epoch']})"
            )
    return None


def _swings(before: float, after: float, factor: float) -> bool:
    """Return whether a loss rises by this factor, and by LEAST_SWING_NATS."""
    return after > max(factor * before, before + LEAST_SWING_NATS)
