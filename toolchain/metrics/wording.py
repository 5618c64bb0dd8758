"""Accuracies in words, as every table shows them."""

from __future__ import annotations

from toolchain.display import percent
from toolchain.metrics.evidence import flips_words
from toolchain.runtime.card import Acceptance, Task


def accuracy_qualifier(task: Task) -> str:
    """Return what an accuracy counts, where that is not the one class of an image.

    >>> accuracy_qualifier("multi-label")
    ' right in all classes'
    """
    return " right in all classes" if task == "multi-label" else ""


def acceptance_words(found: Acceptance) -> str:
    """Return what a lower precision cost and gained, in one line."""
    speed = (
        "not timed, as no GPU is at hand"
        if found.speed_ratio is None
        else f"{found.speed_ratio:.2f} × as fast as fp32 on 1 thread ({found.speed_provider})"
    )
    kept = f"; in float: {', '.join(found.kept_float)}" if found.kept_float else ""
    return (
        f"accuracy {percent(found.accuracy_before)} → {percent(found.accuracy_after)} "
        f"(p = {found.p_value:.2g}), {found.flips} of {found.images} labels differ, "
        f"{flips_words(found.flips, found.images)}, {speed}{kept}"
    )
