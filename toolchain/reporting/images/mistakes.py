"""Which images the part about mistakes shows, and why each is there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from toolchain.reporting.reading.stored_evaluation import StoredEvaluation

MOST_WRONG = 24
MOST_UNCERTAIN = 8
MOST_CERTAIN_MARKED = 5
"""Of the wrong images, how many carry the mark of the largest loss, and of the most certain."""
NEIGHBOURS = 5
"""Training images that an image is compared with."""
NEIGHBOURS_THAT_AGREE = 5
"""So many of them with the predicted label make the image's own label suspect …"""
SUSPECT_CONFIDENCE = 0.9
"""… where the answer is as certain as this."""


@dataclass(frozen=True)
class Neighbour:
    """A training image that the network sees as similar."""

    name: str
    labels: tuple[str, ...]
    similarity: float
    """Cosine of the angle between the pooled features, in 0…1."""
    sample: int
    """Its position among the training images that were compared."""


@dataclass
class Mistake:
    """One image with its answer."""

    row: int
    """Its position in the evaluation."""
    tags: list[str] = field(default_factory=list)
    neighbours: list[Neighbour] = field(default_factory=list)


def chosen_mistakes(evaluation: StoredEvaluation) -> list[Mistake]:
    """Return wrong images, the largest loss first, marked with what they are extreme in."""
    wrong = np.flatnonzero(~evaluation.right)
    by_loss = wrong[np.argsort(-evaluation.losses[wrong], kind="stable")]
    by_certainty = wrong[np.argsort(-evaluation.confidence[wrong], kind="stable")]
    kept = [int(row) for row in by_loss[: MOST_WRONG - MOST_CERTAIN_MARKED]]
    kept += [int(row) for row in by_certainty if row not in kept][: MOST_WRONG - len(kept)]
    found = {row: Mistake(row) for row in kept}
    for tag, order in (("largest loss", by_loss), ("most certain", by_certainty)):
        for row in order[:MOST_CERTAIN_MARKED]:
            if int(row) in found:
                found[int(row)].tags.append(tag)
    return list(found.values())


def least_certain(evaluation: StoredEvaluation) -> list[Mistake]:
    """Return the images whose answers are least certain, right or wrong."""
    order = np.argsort(evaluation.confidence, kind="stable")[:MOST_UNCERTAIN]
    return [Mistake(int(row)) for row in order]


def mark_suspects(evaluation: StoredEvaluation, mistakes: list[Mistake]) -> list[Mistake]:
    """Mark and return the wrong images whose label may be wrong, and not the answer.

    The answer is certain, and the nearest training images have its label too.
    """
    suspects = []
    for mistake in mistakes:
        result = evaluation.file.results[mistake.row]
        if result.predicted is None or evaluation.confidence[mistake.row] < SUSPECT_CONFIDENCE:
            continue
        labels = Counter(label for n in mistake.neighbours for label in n.labels)
        if labels[result.predicted] >= NEIGHBOURS_THAT_AGREE:
            mistake.tags.append("label to check")
            suspects.append(mistake)
    return suspects
