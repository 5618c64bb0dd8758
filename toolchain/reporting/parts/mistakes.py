"""The part about mistakes: cards with what the network saw, what spoke for it, what is similar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from toolchain.display import percent
from toolchain.reporting.images.explain import Explanation, Explanations
from toolchain.reporting.images.mistakes import Mistake
from toolchain.reporting.images.pictures import Pictures
from toolchain.reporting.parts.photos import Photo, photo
from toolchain.reporting.reading.stored_evaluation import StoredEvaluation


class Card(NamedTuple):
    """One image with its explanation."""

    key: str
    photo: Photo
    of_label: str
    """Probability of the true class; empty where it is not known."""
    tags: Sequence[str]
    explanation: Explanation


@dataclass(frozen=True)
class Mistakes:
    """The part about mistakes."""

    wrong: int
    """All wrong images of the evaluation."""
    cards: list[Card]
    uncertain: list[Card]
    suspects: list[tuple[str, str, str, str]]
    """(anchor, file, label, answer) of images whose label may be wrong."""
    similar: str
    """How many training images were compared; empty for none."""
    notes: list[str]


def mistakes_part(
    evaluation: StoredEvaluation,
    mistakes: Sequence[Mistake],
    uncertain: Sequence[Mistake],
    suspects: Sequence[Mistake],
    explained: Explanations,
    path_of: Callable[[str], Path],
    pictures: Pictures,
) -> Mistakes:
    """Return the part."""

    def card(mistake: Mistake, kind: str) -> Card:
        explanation = explained.by_row.get(mistake.row, Explanation())
        # The whole photograph is in the groups; here it is needed where there is no view.
        shown = photo(evaluation, mistake.row, path_of, pictures)
        of_label = _probability_of_label(evaluation, mistake.row)
        return Card(f"{kind}-{mistake.row}", shown, of_label, mistake.tags, explanation)

    compared = f"{explained.compared} training images"
    if explained.compared < explained.total:
        compared = f"{explained.compared} of {explained.total} training images"
    shown_suspects = []
    for one in suspects:
        result = evaluation.file.results[one.row]
        words = (f"wrong-{one.row}", result.file, result.label or "", result.predicted or "")
        shown_suspects.append(words)
    return Mistakes(
        wrong=int((~evaluation.right).sum()),
        cards=[card(one, "wrong") for one in mistakes],
        uncertain=[card(one, "uncertain") for one in uncertain],
        suspects=shown_suspects,
        similar=compared if explained.compared else "",
        notes=explained.notes,
    )


def _probability_of_label(evaluation: StoredEvaluation, row: int) -> str:
    """Return the probability of the true class of a wrong image, where it is known."""
    if evaluation.multi_label or evaluation.right[row]:
        return ""
    if evaluation.logits is not None:
        chosen = evaluation.probabilities(evaluation.temperature)[row][evaluation.truth[row]]
        return percent(float(chosen[0])) if len(chosen) else ""
    if len(evaluation.classes) == 2:
        return percent(1 - float(evaluation.confidence[row]))
    return ""
