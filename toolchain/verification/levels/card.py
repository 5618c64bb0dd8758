"""Level "card": the card in a file has the same content as the card of its run."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec

from toolchain.runtime.card import Card, Metrics
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
RECORD_FIELDS = ("settings_sha256", "data_sha256", "metrics", "versions", "created")
"""The fields that say where a file comes from and how good it is."""
SAME_METRICS = 0.01
"""How far metrics of the same images may be apart where they were measured twice."""
CLOCK_SECONDS = 86400
"""A file may be made this much before its run, or in the future: clocks differ."""


def card_level(expected: Card, found: Card, evaluated: float | None = None) -> Level:
    """Compare a file's card with the run's.

    `evaluated` is when the run was last evaluated, in seconds since 1970: metrics that were
    measured after the file was made need not be the file's. The temperature of an int8 file may be
    its own; see `levels/temperature.py`.
    """
    if found.trained_size == expected.preprocessing.size:
        expected = card_at_size(expected, found.preprocessing.size)
    fields = tuple(f for f in CARD_FIELDS if f != "temperature" or found.precision != "int8")
    different = [n for n in fields if getattr(expected, n) != getattr(found, n)]
    different += _different_records(expected, found, evaluated)
    count = len(fields) + len(RECORD_FIELDS)
    figures: Figures = {"fields": count}
    if different:
        figures["different"] = tuple(different)
    names = ", ".join(different)
    return Level(
        level="card",
        against="run",
        passed=not different,
        rule="equal in " + ", ".join((*fields, *RECORD_FIELDS)),
        summary=f"{count} fields, " + (f"different in {names}" if different else "equal"),
        figures=figures,
        where=f"the card: {names}" if different else None,
    )


def run_weights_level(weights_sha256: str | None, run: Card, found: Card) -> Level | None:
    """Return a failed level where the weights of the run are not those that its card names.

    Then the run is at fault, and no difference to it says anything about the file. None where they
    are, or where the digest is not known.
    """
    if weights_sha256 is None or weights_sha256 == run.weights.sha256:
        return None
    same = "the file's card names the same" if found.weights == run.weights else ""
    return Level(
        level="card",
        against="run",
        passed=False,
        rule="the weights of the run are those that its own card names",
        summary="the weights of the run were changed after training: model.safetensors has sha256 "
        f"{weights_sha256[:16]}…, card.json of the run names {run.weights.sha256[:16]}…"
        + (f" ({same})" if same else ""),
        figures={"different": ("model.safetensors of the run",)},
        where="the run: model.safetensors, not the file",
    )


def _different_records(expected: Card, found: Card, evaluated: float | None) -> list[str]:
    """Return which of RECORD_FIELDS are not the run's."""
    digests = ("settings_sha256", "data_sha256")
    different = [n for n in digests if getattr(expected, n) != getattr(found, n)]
    created = _seconds(found.created)
    again = evaluated is not None and created is not None and evaluated > created
    if not _same_metrics(expected.metrics, found.metrics, measured_again=again):
        different.append("metrics")
    if any(found.versions.get(name) != version for name, version in expected.versions.items()):
        different.append("versions")
    made = _seconds(expected.created)
    if (
        created is None
        or (made is not None and created < made - CLOCK_SECONDS)
        or created > time.time() + CLOCK_SECONDS
    ):
        different.append("created")
    return different


def _same_metrics(expected: Metrics | None, found: Metrics | None, *, measured_again: bool) -> bool:
    """Return whether the metrics of a file may be those of its run.

    A file without any was exported before the evaluation, in a lower precision or at another size.
    """
    if found is None or found == expected:
        return True
    if not measured_again or expected is None:
        return False
    if (found.split, found.images) != (expected.split, expected.images):
        return True
    return abs(found.accuracy - expected.accuracy) <= SAME_METRICS


def _seconds(iso: str) -> float | None:
    """Return a moment as seconds since 1970; None for what is none."""
    try:
        moment = datetime.fromisoformat(iso)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None


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
