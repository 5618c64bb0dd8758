"""Nothing was learnt: one answer for all images, or no more right ones than a guess would have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from toolchain.display import percent
from toolchain.metrics.evidence import accuracy_words, can_show_a_difference
from toolchain.metrics.intervals import wilson_interval
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.analysis.curves import Row
from toolchain.training.analysis.remedies import more_layers, more_steps, options, rates_up
from toolchain.training.analysis.validated import Validated

FEWEST_IMAGES = 3
"""Two images of two classes get the same answer by chance in half of all sound runs' starts."""
FEW_STEPS = 50
"""Heads of pretrained networks learn within some dozens of steps; fewer may simply be too few."""
LARGEST_SHARE = 0.7
"""Share of the training images from which one class outweighs the others."""
LEARNT_BY_HEART = 0.9
"""Training accuracy from which the network has learnt, but nothing that helps with other images."""
MOST_REASONS = 3


def nothing_learnt(validated: Validated) -> str | None:
    """Return the evidence that the model knows no more than a guess, or None."""
    if validated.images < FEWEST_IMAGES or validated.best_guess == 1:
        return None
    answers = np.unique(validated.predicted, axis=0)
    if len(answers) == 1:
        return _one_answer(validated)
    if validated.multi_label or not can_show_a_difference(validated.images):
        return None
    guess, accuracy = validated.best_guess, validated.correct / validated.images
    low, _ = wilson_interval(validated.correct, validated.images)
    # Of few images a good model is not proved better than a guess either: it has to look poor too.
    if low > guess or accuracy >= (1 + guess) / 2:
        return None
    return (
        f"{accuracy_words(validated.correct, validated.images)} is not shown to be better than "
        f"always naming the most frequent class, {percent(guess)}"
    )


def _one_answer(validated: Validated) -> str:
    answer = [validated.classes[k] for k in np.flatnonzero(validated.predicted[0])]
    named = ", ".join(f"'{name}'" for name in answer) or "none of the classes"
    right = percent(validated.correct / validated.images)
    return (
        f"all {validated.images} validation images get the same answer, {named}, "
        f"which is right for {right}"
    )


def likely_reasons(
    validated: Validated, rows: Sequence[Row], settings: FinetuneSettings, unstable: str | None
) -> str:
    """Return the likeliest reasons, each with what to do about it, the most telling first."""
    found = list(_reasons(validated, rows, settings, unstable))[:MOST_REASONS]
    found.append("labels that do not belong to the images (look at some of each class)")
    return "likely reasons: " + "; ".join(found)


def _reasons(
    validated: Validated, rows: Sequence[Row], settings: FinetuneSettings, unstable: str | None
) -> Iterator[str]:
    by_heart = bool(rows) and rows[-1]["train_accuracy"] >= LEARNT_BY_HEART
    if by_heart:
        share = percent(rows[-1]["train_accuracy"])
        yield (
            f"{share} of the training images are right, so the validation images or their labels "
            "are of another kind (`rtl data check DATA`)"
        )
    if unstable:
        yield "rates that are too high (see unstable start)"
    if validated.steps < FEW_STEPS:
        steps = "1 step" if validated.steps == 1 else f"{validated.steps} steps"
        yield f"only {steps} of training ({options(more_steps(settings))})"
    counts, images = validated.train_counts, validated.train_images
    if not settings.class_weights and max(counts) >= LARGEST_SHARE * sum(counts):
        yield (
            f"{percent(max(counts) / images)} of training images are of one class "
            + (f"({options(['--class-weights'])})")
        )
    if settings.weights == "none":
        yield f"random weights and {images} training images (try --weights imagenet)"
    if by_heart:
        return
    if higher := ([] if unstable else list(rates_up(settings))):
        yield f"rates that are too low ({options(higher)})"
    if layers := list(more_layers(settings)):
        yield f"frozen layers that do not see the difference ({options(layers)})"
