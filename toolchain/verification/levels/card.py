"""Level "card": the card in a file has the same content as the card of its run."""

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
"""The fields that change a prediction: with permuted classes, right numbers give wrong labels."""


def card_level(expected: Card, found: Card) -> Level:
    """Compare a file's card with the run's, in the fields that change a prediction."""
    if found.trained_size == expected.preprocessing.size:
        expected = card_at_size(expected, found.preprocessing.size)
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


def card_at_size(card: Card, size: int | None) -> Card:
    """Return the card for images of another size in pixels; the same card for its own or None.

    The short side after the resize keeps its proportion to the crop. Metrics are dropped, because
    they were measured at the old size.
    """
    old = card.preprocessing
    if size is None or size == old.size:
        return card
    new = msgspec.structs.replace(
        old, size=size, resize_size=max(size, round(size * old.resize_size / old.size))
    )
    return msgspec.structs.replace(card, preprocessing=new, trained_size=old.size, metrics=None)
