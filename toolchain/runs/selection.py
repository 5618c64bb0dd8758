"""What an automatic choice measured and chose: `selection.json` in a run folder."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from toolchain.display import Block, Displayed, Facts, Line, Span, Table, Tone, counted, percent
from toolchain.metrics.intervals import wilson_interval
from toolchain.runs.damage import reading
from toolchain.runs.runfolder import RunFolder

Verdict = Literal["chosen", "tie", "worse", "reference", "not tried"]
TONES: dict[Verdict, Tone] = {"chosen": "good", "tie": "unsure", "worse": "plain"}


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one candidate reached on training images that it was not trained on."""

    name: str
    verdict: Verdict
    images: int = 0
    """Held-out images; 0 where it was not tried."""
    correct: int = 0
    accuracy: float | None = None
    """In 0…1; None where it was not tried."""
    accuracy_interval: tuple[float, float] | None = None
    """At 95 %."""
    p: float | None = None
    """McNemar's p-value of the comparison with the best on the same images."""
    seconds: float = 0.0
    """What it took to measure it."""
    settings: dict[str, Any] = {}
    """What would be trained; empty for a reference."""


class Ingredient(msgspec.Struct, frozen=True, kw_only=True):
    """Another training from the same classifier, which may be averaged with the chosen one."""

    name: str
    settings: dict[str, Any]
    """The settings in which it differs from the chosen one."""


class Soup(msgspec.Struct, frozen=True, kw_only=True):
    """An average of several trainings' weights: what speaks for it, and whether it was kept."""

    ingredients: list[Ingredient]
    """What is trained after the chosen one, in this order, as far as there is time."""
    images: int
    """Held-out training images that averages of fold-trained networks were asked about."""
    correct: int
    """On how many of them they were right."""
    correct_single: int
    """On how many the chosen one was."""
    trained: int = 0
    """Ingredients that were trained."""
    kept: list[str] = []
    """Those that are part of the model's weights; empty where the chosen one stayed alone."""
    val_correct: int | None = None
    """Validation images that the model is right on; None before the end of the training."""
    val_correct_single: int | None = None
    """Validation images that the chosen one alone was right on."""

    def words(self) -> str:
        """Return the outcome in a line."""
        held_out = (
            f"averages were right on {self.correct} of {self.images} held-out images, "
            f"the chosen one on {self.correct_single}"
        )
        if self.val_correct is None:
            return held_out
        if not self.trained:
            return f"{held_out}; no time to train another"
        if not self.kept:
            return f"{held_out}; not kept, as fewer validation images were right with it"
        return (
            f"{held_out}; the weights are averaged with {', '.join(self.kept)}: {self.val_correct} "
            f"validation images right, {self.val_correct_single} without"
        )


class Selection(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, what was measured, and what was chosen and why."""

    version: int = 1
    asked: dict[str, Any]
    """The settings that asked for a choice: `strategy`, `budget`."""
    chosen: dict[str, Any]
    """The settings that the run was trained with instead."""
    reason: str
    row: str | None = None
    """Row of the guide table: small or large, like or unlike what the network was trained on."""
    images_per_class: float | None = None
    """Median of the training images of a class."""
    folds: int = 0
    """Parts of the cross-validation inside the training images."""
    measured: list[Measured]
    seconds: float
    """What measuring and choosing took."""
    source: Selection | None = None
    """How the source model was chosen; None where it was given, or nothing else was chosen."""
    soup: Soup | None = None
    """Trainings whose weights may be averaged with the chosen one's; None where none may."""

    @property
    def all_chosen(self) -> dict[str, Any]:
        """The settings that were chosen, the source model among them."""
        return {**(self.source.chosen if self.source else {}), **self.chosen}

    def blocks(self) -> list[Block]:
        """Return the table of what was measured, the choice and the reason."""
        return [*(self.source.own_blocks() if self.source else ()), *self.own_blocks()]

    def own_blocks(self) -> list[Block]:
        """Return the blocks without those of the source model."""
        # Probes are asked about all folds, trainings about those that there was time for.
        counts = {found.images for found in self.measured if found.images}
        rows = [
            (
                found.name,
                _accuracy(found, with_images=len(counts) > 1),
                _interval(found),
                Span(words(found), _tone(found)),
            )
            for found in self.measured
        ]
        # One number of folds is no heading for candidates that were asked about different ones.
        folds = f", {counted(self.folds, 'fold')}" if len(counts) <= 1 else ""
        title = f"out-of-fold on the training images{folds}"
        columns = ("candidate", "accuracy", "95 % interval", "")
        chosen = ", ".join(f"{name} {value}" for name, value in self.chosen.items())
        soup = [("soup", self.soup.words())] if self.soup else []
        return [
            Table(columns, rows, right=("accuracy",), title=title),
            Facts([("chosen", chosen), ("because", self.reason), *soup]),
            Line(),
        ]


def measured(
    name: str,
    images: int,
    correct: int,
    verdict: Verdict,
    *,
    p: float | None = None,
    seconds: float = 0.0,
    settings: dict[str, Any] | None = None,
) -> Measured:
    """Return a row with its accuracy and interval, for a candidate measured on `images` images."""
    return Measured(
        name=name,
        verdict=verdict,
        images=images,
        correct=correct,
        accuracy=correct / images if images else None,
        accuracy_interval=wilson_interval(correct, images) if images else None,
        p=p,
        seconds=round(seconds, 3),
        settings=settings or {},
    )


def read_selection(run: RunFolder) -> Selection | None:
    """Return what a run chose; None for a run whose settings were given. DataError if damaged."""
    if not run.selection.is_file():
        return None
    with reading(run.selection):
        return msgspec.json.decode(run.selection.read_bytes(), type=Selection)


def words(found: Measured) -> str:
    """Return the verdict on a candidate as a table shows it."""
    return {
        "chosen": "chosen",
        "tie": "can't be told from the best",
        "worse": "worse",
        "reference": "for comparison",
        "not tried": "not tried",
    }[found.verdict]


def _tone(found: Measured) -> Tone:
    return TONES.get(found.verdict, "quiet")


def _accuracy(found: Measured, *, with_images: bool) -> str:
    if found.accuracy is None:
        return "–"
    return percent(found.accuracy) + (f" of {found.images}" if with_images else "")


def _interval(found: Measured) -> str:
    if found.accuracy_interval is None:
        return "–"
    low, high = found.accuracy_interval
    return f"{percent(low)} to {percent(high)}"
