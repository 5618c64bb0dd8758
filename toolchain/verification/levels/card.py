"""Level "card": what the card of a file says, against the card of the run."""

from __future__ import annotations

import msgspec

from toolchain.runtime.card import Card
from toolchain.verification.result import Figures, Level

CARD_FIELDS = (
    "classes",
    "task",
    "preprocessing",
    "normalisation",
    "temperature",
    "threshold",
    "architecture",
    "weights",
)


def card_level(expected: Card, found: Card) -> Level:
    """Compare what shapes an answer: permuted classes give wrong labels from right numbers."""
    if found.trained_size == expected.preprocessing.size:
        expected = resized(expected, found.preprocessing.size)
    different = tuple(n for n in CARD_FIELDS if getattr(expected, n) != getattr(found, n))
    figures: Figures = {"fields": len(CARD_FIELDS)}
    if different:
        figures["different"] = different
    return Level(
        level="card",
        against="run",
        passed=not different,
        rule="equal in " + ", ".join(CARD_FIELDS),
        summary=f"{len(CARD_FIELDS)} fields, "
        + (f"different in {', '.join(different)}" if different else "equal"),
        figures=figures,
        where=f"the card: {', '.join(different)}" if different else None,
    )


def resized(card: Card, size: int | None) -> Card:
    """Return the card for another image size; what was measured at the old one is dropped.

    The short side after the resize keeps its proportion to the crop.
    """
    old = card.preprocessing
    if size is None or size == old.size:
        return card
    new = msgspec.structs.replace(
        old, size=size, resize_size=max(size, round(size * old.resize_size / old.size))
    )
    return msgspec.structs.replace(card, preprocessing=new, trained_size=old.size, metrics=None)
