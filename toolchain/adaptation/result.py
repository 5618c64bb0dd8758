"""What `rtl adapt` prints. The fields are described in docs/json.md."""

from __future__ import annotations

from pathlib import Path

import msgspec

from toolchain.adaptation.gate import Figures
from toolchain.data.left_out import LeftOut
from toolchain.display import Block, Cell, Displayed, Facts, Span, percent
from toolchain.verification.result import Verification

MOST_SHARES = 10
"""Classes whose share is shown."""


class Adapted(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """The figures of an adaptation, and the file that was made."""

    version: int = 1
    model: str
    sha256: str
    """Of the model that was adapted."""
    target: str
    found: int
    """Photographs in the target's folder."""
    unreadable: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    source_images: int
    figures: Figures
    accepted: bool
    reason: str | None
    """Why it was refused."""
    output: str | None
    verification: Verification | None
    seconds: float

    @property
    def path(self) -> Path | None:
        """The new file; None where it was refused."""
        return None if self.output is None else Path(self.output)

    def blocks(self) -> list[Block]:
        """Return the figures, and the verification of the new file."""
        figures = self.figures
        rows: list[tuple[str, Cell]] = [
            ("photographs", _images_words(self)),
            (
                "another camera",
                f"p = {figures.p_same_camera:.2g} that only the classes' mix differs",
            ),
            ("accuracy expected", _expected_words(figures)),
            ("classes told apart", f"{percent(figures.separation)} as well as in training"),
            ("labels changed", percent(figures.labels_changed)),
            ("shares of classes", _shares_words(figures)),
        ]
        if (known := figures.labelled) is not None:
            counted = f"{known.correct_before} → {known.correct_after} of {known.images} right"
            rows.append(("labelled", f"{counted} (p = {known.p:.2g})"))
        verdict = Span("adapted", "good") if self.accepted else Span("refused", "bad")
        rows.append(("verdict", verdict))
        if self.output is not None:
            rows.append(("made", self.output))
        blocks: list[Block] = [Facts(rows, title=f"{self.model} → {self.target}")]
        return [*blocks, *(self.verification.blocks() if self.verification else [])]


def _images_words(result: Adapted) -> str:
    words = f"{result.figures.images} of {result.found}, beside {result.source_images} of training"
    return words + (f"; {len(result.unreadable)} unreadable" if result.unreadable else "")


def _expected_words(figures: Figures) -> str:
    before, after = percent(figures.expected_before), percent(figures.expected_after)
    mean, low = 100 * figures.expected_gain, 100 * figures.expected_gain_low
    return f"{before} → {after}; resampled {mean:+.1f} points (lower quartile {low:+.1f})"


def _shares_words(figures: Figures) -> str:
    shown = list(figures.shares.items())[:MOST_SHARES]
    more = len(figures.shares) - len(shown)
    words = ", ".join(f"{name} {percent(share)}" for name, share in shown)
    return words + (f", … and {more} more" if more else "")
