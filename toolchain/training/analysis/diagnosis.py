"""What the curves of a run say, by the table of the source material.

The table (S3): training loss falls and validation loss rises, over-fitting; large swings at the
start, a rate too high; slow convergence, statistics of the input that do not fit.

A training loss stands for augmented views, with dropout and mixed labels. So it is compared with
itself and with the loss of guessing, never with a validation loss.

The thresholds were set on 107 runs, sound ones and spoilt ones, over photographs and pictures of
steel: ResNet-18, its head, its later layers or all of it, with 60 to 500 training images of 2 to 10
classes. Between a warning too many and one too few they choose the latter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist, median
from typing import Any, Literal

import msgspec

from toolchain.runs.settings import FinetuneSettings
from toolchain.training.analysis.remedies import (
    against_instability,
    against_over_fitting,
    against_slowness,
)

Row = dict[str, Any]
"""A line of metrics.jsonl."""

FEWEST_EPOCHS = 4
"""In a shorter run no curve has a shape yet; only an instability beyond doubt is told."""

ENOUGH_FOR_FIVE = 10
"""Epochs from which on a curve is calmed by the median of five in a row, before by that of three:
few enough that a rise of some epochs is seen, and enough that single ones don't count."""

LEAST_RISE = 0.15
"""Over-fitting: share by which validation loss must rise above its lowest. Runs that had only
flattened out stayed within 0.05, or 0.15 with 20 validation images, where the noise decides; those
that learned wrong labels rose by 0.27 to 0.35."""
LEAST_RISE_NATS = 0.05
"""Over-fitting: the least rise in nats. From 0.010 to 0.015 is half as much again, and means only
that one image of many is less sure."""
LEAST_RISE_TO_NOISE = 2.5
"""Over-fitting: the rise in standard deviations of the wiggles. Wiggles alone, simulated on a curve
that had flattened out, rise as much in one run of 200 with up to 100 epochs; wrong labels gave 8.5
and more."""
LEAST_FALL = 0.05
"""Over-fitting: share by which training loss must have fallen meanwhile. Where both rise, the rate
is to blame and not the number of images."""

EARLY_EPOCHS = 6
"""Unstable start: how long a start lasts, after the warm-up."""
SWING_OF_STEPS, STEPS_IN_A_ROW = 2.0, 5
"""Unstable start: how many times the loss of the first step the loss rises within the first ones,
by the median of so many in a row. Sound starts stayed within 1.24, in batches of four images too,
where single steps reached 2.1; rates a hundred times too high gave 2.8 to 24, or did no harm."""
SWING_OF_EPOCHS = 1.5
"""Unstable start: how many times the loss of an epoch the next one has, or an early epoch the loss
of an untrained network. Sound runs stayed within 1.2, with mixed labels and few images too."""
LEAST_SWING_NATS = 0.2
"""Unstable start: the least rise in nats. Where the loss is near 0, factors mean nothing."""
ABOVE_ANY_GUESSING = 10.0
"""Unstable start: a mean loss in nats that no number of classes explains; guessing among 22,000
costs 10."""
BEYOND_DOUBT = 2.0
"""Unstable start: factors are this many times larger in a run that is too short for the rest."""

FEWEST_EPOCHS_TO_BE_SLOW = 6
"""Slow convergence: epochs after the warm-up. Before that a network from scratch may still be at
the level of guessing and be sound."""
LITTLE_FALL = 0.25
"""Slow convergence: both losses have fallen by less than this share. In sound runs training loss
fell by 0.34 and more, with strong MixUp too, and validation loss by 0.44 and more; with a fiftieth
of the rate both fell by 0.11 to 0.19."""
STEADY = 0.4
"""Slow convergence: the fall in the second half of a run relative to that in the first, from which
on the loss still falls steadily. A fiftieth of the rate gave 0.68 to 1.01, what converged within 8
epochs at most 0.33. It keeps runs on data that no network learns well from being called slow."""
NEAR_GUESSING = 0.9
"""Slow convergence: both losses are above this share of the loss of guessing. Then next to nothing
was learned, whether they still fall or not."""
STANDING_STILL, LOW_ACCURACY = 0.02, 0.6
"""Slow convergence, where the loss of guessing is not known: losses that have fallen by less than
this share since the first epoch, and accuracies below this, so that it is no early success."""

MAD_TO_DEVIATION = NormalDist().inv_cdf(0.75)
"""Median of |x| for a standard normal x, 0.6745."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that the curves say."""

    name: Literal["over-fitting", "unstable start", "slow convergence"]
    evidence: str
    """The figures it was read from, each as it stands in metrics.jsonl; losses in nats."""
    remedy: str
    """Options of rtl to try, those that the settings do not use yet."""


def diagnose(
    history: Sequence[Row], settings: FinetuneSettings, classes: int | None = None
) -> list[Finding]:
    """Return what the curves of a run say; an empty list when they look sound.

    `history` holds the lines of metrics.jsonl in their order: `epoch`, `train_loss`, `val_loss`,
    `train_accuracy` and `val_accuracy`, and, where it was recorded, `train_loss_start` in the first
    of them: the training losses of the first steps. A loss that is not a number may stand as None.
    `settings` are the run's. The number of `classes` gives the loss of guessing, without which a
    network that learned nothing can look like one that converged.

    After an unstable start, slow convergence is told only where something else than the rate may be
    its reason.
    """
    sound = [row for row in history if _finite(row["train_loss"]) and _finite(row["val_loss"])]
    unstable = _unstable_start(history, settings, classes)
    found = [
        _over_fitting(sound, settings),
        unstable,
        _slow_convergence(sound, settings, classes, unstable=unstable is not None),
    ]
    return [finding for finding in found if finding]


def _over_fitting(rows: Sequence[Row], settings: FinetuneSettings) -> Finding | None:
    if len(rows) < FEWEST_EPOCHS:
        return None
    calm = _calm(rows, "val_loss")
    best = min(calm, key=lambda row: row["val_loss"])
    last = calm[-1]
    rise = last["val_loss"] - best["val_loss"]
    needed = max(
        LEAST_RISE * best["val_loss"],
        LEAST_RISE_NATS,
        LEAST_RISE_TO_NOISE * _noise([row["val_loss"] for row in rows]),
    )
    fell = last["train_loss"] < (1 - LEAST_FALL) * best["train_loss"]
    if last["epoch"] < best["epoch"] or rise <= needed or not fell:
        return None
    return Finding(
        name="over-fitting",
        evidence=f"validation loss rose from {best['val_loss']:.3f} (epoch {best['epoch']}) to "
        f"{last['val_loss']:.3f} (epoch {last['epoch']}) while training loss fell from "
        f"{best['train_loss']:.3f} to {last['train_loss']:.3f}",
        remedy=against_over_fitting(settings),
    )


def _unstable_start(
    history: Sequence[Row], settings: FinetuneSettings, classes: int | None
) -> Finding | None:
    early = history[: EARLY_EPOCHS + settings.warmup_epochs]
    strictness = BEYOND_DOUBT if len(history) < FEWEST_EPOCHS else 1.0
    evidence = (
        _not_a_number(early)
        or _swing_of_steps(early, strictness)
        or _far_above_guessing(early, settings, classes, strictness)
        or _swing_of_epochs(early, strictness)
    )
    if not evidence:
        return None
    return Finding(
        name="unstable start",
        evidence=evidence,
        remedy=against_instability(settings),
    )


def _not_a_number(early: Sequence[Row]) -> str | None:
    for row in early:
        for key, name in (("train_loss", "training"), ("val_loss", "validation")):
            if not _finite(row[key]):
                return f"the {name} loss of epoch {row['epoch']} is not a number"
    return None


def _swing_of_steps(early: Sequence[Row], strictness: float) -> str | None:
    losses = [loss for loss in _first_steps(early) if _finite(loss)]
    if len(losses) < STEPS_IN_A_ROW:
        return None
    places = range(len(losses) - STEPS_IN_A_ROW + 1)
    level = max(median(losses[place : place + STEPS_IN_A_ROW]) for place in places)
    if not _swings(losses[0], level, SWING_OF_STEPS * strictness):
        return None
    return (
        f"training loss rose from {losses[0]:.3f} at the first step to {max(losses):.3f} within "
        f"the first {len(losses)}"
    )


def _far_above_guessing(
    early: Sequence[Row], settings: FinetuneSettings, classes: int | None, strictness: float
) -> str | None:
    # The first step was measured by the loss that was trained with, be it focal or weighted.
    measured = [loss for loss in _first_steps(early)[:1] if _finite(loss)]
    plain = None if settings.class_weights else _loss_of_guessing(settings, classes)
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
    return None


def _swing_of_epochs(early: Sequence[Row], strictness: float) -> str | None:
    for before, after in pairwise(early):
        if _swings(before["train_loss"], after["train_loss"], SWING_OF_EPOCHS * strictness):
            return (
                f"training loss rose from {before['train_loss']:.3f} (epoch {before['epoch']}) to "
                f"{after['train_loss']:.3f} (epoch {after['epoch']})"
            )
    return None


def _slow_convergence(
    rows: Sequence[Row], settings: FinetuneSettings, classes: int | None, *, unstable: bool
) -> Finding | None:
    if len(rows) - settings.warmup_epochs < FEWEST_EPOCHS_TO_BE_SLOW:
        return None
    guessing = _loss_of_guessing(settings, classes)
    evidence = _learned_nothing(rows, guessing) or _still_falling(rows, guessing)
    remedy = against_slowness(settings, unstable=unstable)
    if not evidence or not remedy:
        return None
    return Finding(name="slow convergence", evidence=evidence, remedy=remedy)


def _learned_nothing(rows: Sequence[Row], guessing: float | None) -> str | None:
    last = _calm(rows, "train_loss")[-1]
    last_val = _calm(rows, "val_loss")[-1]
    now = (
        f"training loss was {last['train_loss']:.3f} in epoch {last['epoch']} and validation loss "
        f"{last_val['val_loss']:.3f} in epoch {last_val['epoch']}"
    )
    if guessing is not None:
        lowest = min(last["train_loss"], last_val["val_loss"])
        hardly = f"{now}, hardly better than the {guessing:.3f} of guessing"
        return hardly if lowest > NEAR_GUESSING * guessing else None
    first = rows[0]
    ratios = [last[key] / first[key] for key in ("train_loss", "val_loss") if first[key]]
    kept = min(ratios, default=0.0)
    accuracy = max(last["train_accuracy"], last["val_accuracy"])
    if kept > 1 - STANDING_STILL and accuracy < LOW_ACCURACY:
        return f"{now}, after {first['train_loss']:.3f} and {first['val_loss']:.3f} in the first"
    return None


def _still_falling(rows: Sequence[Row], guessing: float | None) -> str | None:
    first, last = rows[0], _calm(rows, "train_loss")[-1]
    if not (_falls_little(rows, guessing) and _falls_steadily(rows)):
        return None
    return (
        f"training loss fell only from {first['train_loss']:.3f} (epoch {first['epoch']}) to "
        f"{last['train_loss']:.3f} (epoch {last['epoch']}), and was still falling"
    )


def _falls_little(rows: Sequence[Row], guessing: float | None) -> bool:
    """Say whether both losses have fallen by little from where the untrained network stood."""
    # In an epoch of many steps the loss may fall far, so that its mean is no measure of the start.
    untrained = [loss for loss in _first_steps(rows)[:1] if _finite(loss)]
    starts = {
        "train_loss": max([rows[0]["train_loss"], guessing or 0.0, *untrained]),
        "val_loss": max(rows[0]["val_loss"], guessing or 0.0),
    }
    return all(
        _calm(rows, key)[-1][key] > (1 - LITTLE_FALL) * start for key, start in starts.items()
    )


def _falls_steadily(rows: Sequence[Row]) -> bool:
    """Say whether training loss falls in the second half nearly as much as in the first."""
    losses: list[float] = [row["train_loss"] for row in _calm(rows, "train_loss")]
    first_fall = losses[0] - losses[len(losses) // 2]
    second_fall = losses[len(losses) // 2] - losses[-1]
    return second_fall > max(0.0, STEADY * first_fall)


def _loss_of_guessing(settings: FinetuneSettings, classes: int | None) -> float | None:
    """Return the cross entropy of an untrained network, in nats, for which all answers are alike."""
    if settings.task == "multi-label":
        return math.log(2)
    return math.log(classes) if classes and classes > 1 else None


def _first_steps(rows: Sequence[Row]) -> list[float]:
    return list(rows[0].get("train_loss_start") or []) if rows else []


def _swings(before: float, after: float, factor: float) -> bool:
    return after > max(factor * before, before + LEAST_SWING_NATS)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _calm(rows: Sequence[Row], key: str) -> list[Row]:
    """Return for each row the one of it and its neighbours whose value is the middle one.

    A whole row, so that its figures can be found in metrics.jsonl. Near either end it is one of the
    outermost ones.
    """
    width = 5 if len(rows) >= ENOUGH_FOR_FIVE else 3
    chosen = []
    for i in range(len(rows)):
        start = max(0, min(i - width // 2, len(rows) - width))
        chosen.append(sorted(rows[start : start + width], key=lambda row: row[key])[width // 2])
    return chosen


def _noise(values: Sequence[float]) -> float:
    """Return the standard deviation of the wiggles around a curve; three values or more.

    From the distance of each value to the middle of its neighbours, whose variance is 1.5 times the
    wiggles'; by the median, which a bend or a single spike does not move.
    """
    bends = [abs(b - (a + c) / 2) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return median(bends) / MAD_TO_DEVIATION / math.sqrt(1.5)
