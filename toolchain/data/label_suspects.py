"""Labels that may be wrong, as `rtl data check` reports them, and how they are shown."""

from __future__ import annotations

import msgspec

from toolchain.display import Block, Line, Table

LISTED_SUSPECTS = 10
"""Suspects that are shown."""


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """One image whose label may be wrong. Probabilities are in 0…1."""

    file: str
    split: str
    label: str
    likelier: str
    """The most probable class besides the label."""
    label_probability: float
    """Of classifiers that were fitted without this image; see `score_labels`."""
    likelier_probability: float
    neighbours: tuple[str, ...]
    """The images that look most alike to the network, the nearest first."""

    @property
    def contradicted(self) -> bool:
        """Whether another class is more probable than the label."""
        return self.likelier_probability > self.label_probability


class LabelErrors(msgspec.Struct, frozen=True, kw_only=True):
    """What the features of a network say about the labels of all readable images."""

    weights: str
    """Where the weights of the network come from."""
    images: int
    """The images that were judged."""
    not_judged: int = 0
    """Images that are alone in their class, so that nothing can judge them."""
    accuracy: float
    """How many of the labels are the most probable class, in 0…1."""
    estimated: int
    """Wrong labels by the confident joint."""
    joint: dict[str, dict[str, int]]
    """Label → other class → images that are, with confidence, of it; without pairs that have
    none."""
    suspects: tuple[Suspect, ...]
    """The least probable label first: all that are contradicted, and at least a tenth of the
    images."""


def label_blocks(found: LabelErrors) -> list[Block]:
    """Return a table of the first suspects, with how many there are."""
    contradicted = [suspect for suspect in found.suspects if suspect.contradicted]
    text = (
        f"labels: by the features of {found.weights}, {len(contradicted)} of {found.images} are "
        f"less probable than another; about {found.estimated} wrong"
    )
    if found.not_judged:
        text += f"; not judged, as the only image of its class: {found.not_judged}"
    line = Line(text)
    if not contradicted:
        return [line]
    rows = [
        (
            suspect.file,
            f"{suspect.label} {suspect.label_probability:.0%}",
            f"{suspect.likelier} {suspect.likelier_probability:.0%}",
            suspect.neighbours[0] if suspect.neighbours else "–",
        )
        for suspect in contradicted[:LISTED_SUSPECTS]
    ]
    title = "labels that may be wrong"
    if len(contradicted) > LISTED_SUSPECTS:
        title += f", {LISTED_SUSPECTS} of {len(contradicted)}; --json lists all"
    return [line, Table(("file", "label", "likelier", "looks like"), rows, title=title)]
