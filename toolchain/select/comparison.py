"""Which of several candidates to take, by their answers on the same images, honest about luck.

The best of many on few images is often the luckiest. So a candidate counts as worse only where
McNemar's test on the same images shows it, corrected for how many are compared (Holm 1979); all
others are a tie, and of a tie the cheapest is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.metrics.evidence import SIGNIFICANT
from toolchain.metrics.mcnemar import mcnemar_p
from toolchain.runs.selection import Measured, Verdict, measured


@dataclass(frozen=True)
class Candidate:
    """A way to train, and on which images it was right without having seen them."""

    name: str
    right: NDArray[np.bool_]
    """bool [images]; the images are the same for all candidates that are compared."""
    cost: float
    """What it takes to train and to use, in any unit that orders the candidates."""
    settings: dict[str, Any]
    seconds: float = 0.0
    """What measuring it took."""
    loss: float = 0.0
    """Mean cross entropy on the images, in nats: it decides between ties of the same cost."""

    @property
    def correct(self) -> int:
        """How many images it was right on."""
        return int(self.right.sum())


@dataclass(frozen=True)
class Ranking:
    """Candidates, the best first, and the one that is taken."""

    candidates: tuple[Candidate, ...]
    p: tuple[float, ...]
    """Of each candidate against the best."""
    worse: tuple[bool, ...]
    """Whether each is shown to be worse than the best."""
    chosen: Candidate

    @property
    def ties(self) -> tuple[Candidate, ...]:
        """The candidates that can't be told from the best, itself included."""
        pairs = zip(self.candidates, self.worse, strict=True)
        return tuple(candidate for candidate, worse in pairs if not worse)

    def rows(self) -> list[Measured]:
        """Return the table of the candidates, the best first."""
        return [
            measured(
                candidate.name,
                len(candidate.right),
                candidate.correct,
                self._verdict(candidate, worse),
                p=p,
                seconds=candidate.seconds,
                settings=candidate.settings,
            )
            for candidate, worse, p in zip(self.candidates, self.worse, self.p, strict=True)
        ]

    def _verdict(self, candidate: Candidate, worse: bool) -> Verdict:
        if candidate is self.chosen:
            return "chosen"
        return "worse" if worse else "tie"


def rank(
    candidates: Sequence[Candidate], *, others: int = 0, level: float = SIGNIFICANT
) -> Ranking:
    """Return the candidates by accuracy; of those that can't be told from the best the cheapest.

    `others` are candidates that were compared before and are left out now: they count in the
    correction. At most a share `level` of comparisons of equals show a difference. Equal candidates
    stand in the order of their cost; of equally cheap ones that with the lower loss is taken, and
    where losses are equal that which is right more often. Raises ValueError without one.
    """
    if not candidates:
        raise ValueError("nothing to compare")
    ordered = sorted(candidates, key=lambda candidate: (-candidate.correct, candidate.cost))
    p = [against(candidate.right, ordered[0].right) for candidate in ordered]
    worse = [False, *significant(p[1:], others, level)]
    tied = [candidate for candidate, is_worse in zip(ordered, worse, strict=True) if not is_worse]
    chosen = min(tied, key=lambda candidate: (candidate.cost, candidate.loss))
    return Ranking(tuple(ordered), tuple(p), tuple(worse), chosen)


def against(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the p-value of McNemar's test between two, right or wrong on the same images."""
    return mcnemar_p(int((one & ~other).sum()), int((other & ~one).sum()))


def significant(p: Sequence[float], others: int = 0, level: float = SIGNIFICANT) -> list[bool]:
    """Return which of several p-values are significant together, by Holm's method.

    `others` is how many more there are, which are not listed.

    >>> significant([0.02, 0.03, 0.001])
    [False, False, True]
    """
    result = [False] * len(p)
    for place, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[index] > level / (len(p) + others - place):
            break
        result[index] = True
    return result
