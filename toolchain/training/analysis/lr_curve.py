"""The arithmetic of `rtl finetune --lr-find`: which learning rates to try, and which to suggest.

The learning-rate range test: the rate rises with each batch, and the loss shows from which rate on
the network learns and from which on training diverges. Sources: L. N. Smith, "Cyclical Learning
Rates for Training Neural Networks", 2015, arXiv 1506.01186, section 3.3; range, smoothing, stop and
the search for the longest descent as in fastai's `lr_find`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

from toolchain.training.analysis.curves import MAD_TO_DEVIATION

STOP_ABOVE = 4.0
"""A smoothed loss this many times the lowest ends the sweep, as in fastai: training diverged."""
FEWEST_LOSSES = 10
"""With fewer losses no descent is looked for."""
LEAST_FALL = 0.02
"""Share of the first losses by which the loss must fall. In 24 sweeps over photographs (heads of
ResNet-18, adam and sgd, 2 to 10 classes) it fell by 11 to 58 %."""
LEAST_FALL_TO_NOISE = 2.0
"""The loss must fall by this many standard deviations of its noise from batch to batch. It was at
least 4.7 in the same sweeps, and at most 1.3 in 400 sweeps of pure noise."""


def sweep_rates(lowest: float = 1e-7, highest: float = 10.0, steps: int = 100) -> list[float]:
    """Return the learning rates of a sweep, a geometric series from `lowest` to `highest`.

    Raises ValueError unless 0 < lowest < highest and there are two steps or more.

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
    """Return the exponential moving average up to each loss, with bias correction.

    The average is beta · average + (1 - beta) · loss. It starts at 0 and is therefore divided by
    the sum of its weights, 1 - beta^n (D. P. Kingma and J. Ba, "Adam", 2014, arXiv 1412.6980,
    section 3).

    >>> smoothed([1.0, 1.0, 4.0], beta=0.5)
    [1.0, 1.0, 2.7142857142857144]
    """
    averages, average = [], 0.0
    for count, loss in enumerate(losses, 1):
        average = beta * average + (1 - beta) * loss
        averages.append(average / (1 - beta**count))
    return averages


def should_stop(averages: Sequence[float]) -> bool:
    """Return whether the last of these smoothed losses ends the sweep.

    It does where it is not a number, or more than four times the lowest.
    """
    return bool(averages) and not averages[-1] <= STOP_ABOVE * min(averages)


def suggest_rate(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return the learning rate in the middle of the longest descent of the loss.

    `losses` are those before each step; they are smoothed first. The descent is the longest
    strictly falling subsequence, so that higher points in between do not end it. In its first half
    the network still learns little, and its second half is close to divergence; the point in the
    middle, by count, is a rate that learns fast and is still well below divergence. fastai calls
    this method "valley".

    `losses` may be shorter than `rates`, as they are when a sweep is stopped; only those before the
    first that is not finite are used. Returns None where these are fewer than 10, or where the loss
    falls too little to distinguish from noise. Raises ValueError for more losses than rates.
    """
    if len(losses) > len(rates):
        raise ValueError(f"{len(losses)} losses for {len(rates)} rates")
    end = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    finite = losses[:end]
    if len(finite) < FEWEST_LOSSES:
        return None
    averages = smoothed(finite)
    descent = _longest_descent(averages)
    # At the lowest rates the network does not learn, so the first losses are those it starts from.
    start = fmean(finite[: len(finite) // 10 or 1])
    fall = start - averages[descent[-1]]
    if fall <= LEAST_FALL * abs(start) or fall <= LEAST_FALL_TO_NOISE * _noise_deviation(finite):
        return None
    return rates[descent[len(descent) // 2]]


def _longest_descent(values: Sequence[float]) -> list[int]:
    """Return the indices of a longest strictly falling subsequence."""
    lengths, previous = [1] * len(values), [-1] * len(values)
    for i, value in enumerate(values):
        for j in range(i):
            if value < values[j] and lengths[j] >= lengths[i]:
                lengths[i], previous[i] = lengths[j] + 1, j
    index = lengths.index(max(lengths))
    indices = []
    while index >= 0:
        indices.append(index)
        index = previous[index]
    return indices[::-1]


def _noise_deviation(losses: Sequence[float]) -> float:
    """Return the standard deviation of the losses around their trend.

    Estimated from the median difference of consecutive losses: the trend adds little to it, and the
    few large differences of a divergence do not affect a median. A difference of two losses has √2
    times the deviation of each.
    """
    steps = [abs(after - before) for before, after in pairwise(losses)]
    return median(steps) / MAD_TO_DEVIATION / math.sqrt(2)
