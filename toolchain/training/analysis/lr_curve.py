"""The arithmetic of `rtl finetune --lr-find`: which learning rates to try, and which to take.

The learning-rate range test: the rate rises with each batch, and the loss shows from where the
network learns and from where it breaks. Sources: L. N. Smith, "Cyclical Learning Rates for Training
Neural Networks", 2015, arXiv 1506.01186, section 3.3; range, smoothing, stop and the search for the
longest descent as in fastai's `lr_find`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist, fmean, median

STOP_ABOVE = 4.0
"""A smoothed loss this many times the lowest ends the sweep, as in fastai: it will not recover."""
FEWEST_LOSSES = 10
"""With fewer losses there is no descent to find."""
LEAST_FALL = 0.02
"""Share of the first losses by which the loss must fall. In 24 sweeps over photographs (heads of
ResNet-18, adam and sgd, 2 to 10 classes) it fell by 11 to 58 %."""
LEAST_FALL_TO_NOISE = 2.0
"""The loss must fall by this many times its scatter from batch to batch. It was at least 4.7 in the
same sweeps, and at most 1.3 in 400 sweeps of pure noise."""
MAD_TO_DEVIATION = NormalDist().inv_cdf(0.75)
"""Median of |x| for a standard normal x, 0.6745."""


def sweep_rates(lowest: float = 1e-7, highest: float = 10.0, steps: int = 100) -> list[float]:
    """Return the learning rates of a sweep, each the same factor above the one before.

    >>> sweep_rates(0.01, 1.0, 3)
    [0.01, 0.1, 1.0]
    """
    if not 0 < lowest < highest or steps < 2:
        raise ValueError(
            f"a sweep needs 0 < lowest < highest and two steps or more; "
            f"got {lowest:g}, {highest:g} and {steps}"
        )
    ratio = highest / lowest
    return [*(lowest * ratio ** (step / (steps - 1)) for step in range(steps - 1)), highest]


def smoothed(losses: Sequence[float], beta: float = 0.98) -> list[float]:
    """Return the exponential average up to each loss, without the pull to 0 at the start.

    The average is beta · average + (1 - beta) · loss, divided by the weight it has collected,
    1 - beta^n (D. P. Kingma and J. Ba, "Adam", 2014, arXiv 1412.6980, section 3).

    >>> smoothed([1.0, 1.0, 4.0], beta=0.5)
    [1.0, 1.0, 2.7142857142857144]
    """
    averages, average = [], 0.0
    for count, loss in enumerate(losses, 1):
        average = beta * average + (1 - beta) * loss
        averages.append(average / (1 - beta**count))
    return averages


def should_stop(averages: Sequence[float]) -> bool:
    """Say whether the last of the smoothed losses so far ends the sweep.

    It does when it is not a number, or above four times the lowest.
    """
    return bool(averages) and not averages[-1] <= STOP_ABOVE * min(averages)


def suggest_rate(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return the rate in the middle of the longest descent, from the losses before each step.

    The losses are smoothed first. Of all selections of points that fall from each to the next, the
    longest is the descent; points between that are higher do not end it. Its first half still
    learns little and its second half is close to the break, so that its middle point, by count, is
    a rate that learns fast with room above it. fastai calls it the valley.

    `losses` may end before `rates`, as they do when a sweep is stopped; they count up to the first
    that is not finite. None where fewer than 10 remain, and where the loss falls by too little to
    tell from noise. ValueError for more losses than rates.
    """
    if len(losses) > len(rates):
        raise ValueError(f"{len(losses)} losses for {len(rates)} rates")
    end = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    finite = losses[:end]
    if len(finite) < FEWEST_LOSSES:
        return None
    averages = smoothed(finite)
    descent = _longest_descent(averages)
    # The lowest rates teach nothing, so that the first losses show where the network starts.
    start = fmean(finite[: len(finite) // 10 or 1])
    fall = start - averages[descent[-1]]
    if fall <= LEAST_FALL * abs(start) or fall <= LEAST_FALL_TO_NOISE * _noise(finite):
        return None
    return rates[descent[len(descent) // 2]]


def _longest_descent(values: Sequence[float]) -> list[int]:
    """Return the places of a longest strictly falling subsequence."""
    lengths, before = [1] * len(values), [-1] * len(values)
    for i, value in enumerate(values):
        for j in range(i):
            if value < values[j] and lengths[j] >= lengths[i]:
                lengths[i], before[i] = lengths[j] + 1, j
    place = lengths.index(max(lengths))
    places = []
    while place >= 0:
        places.append(place)
        place = before[place]
    return places[::-1]


def _noise(losses: Sequence[float]) -> float:
    """Return the standard deviation of a loss around its trend.

    From the median step: a trend is small from one to the next, and the few steps of a break do not
    move a median. A difference of two has √2 times the deviation of each.
    """
    steps = [abs(after - before) for before, after in pairwise(losses)]
    return median(steps) / MAD_TO_DEVIATION / math.sqrt(2)
