"""What `rtl report` has written."""

from __future__ import annotations

import msgspec

from toolchain.display import Block, Displayed, Facts, Line, megabytes


class ReportFile(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """A report that was written; the keys are those of docs/json.md."""

    version: int = 1
    file: str
    runs: list[str]
    bytes: int
    pictures: int
    """Pictures in the page."""
    pictures_left_out: int
    """Photographs for which the page has no room, or too many to read."""
    pictures_unreadable: int
    missing: list[str]
    """Parts that the report lacks, and why, a line each."""

    def blocks(self) -> list[Block]:
        """Return where the report is, how large, and what it lacks."""
        pictures = f"{self.pictures} pictures"
        if self.pictures_left_out:
            pictures += f", {self.pictures_left_out} photographs left out for its size"
        if self.pictures_unreadable:
            pictures += f", {self.pictures_unreadable} can't be read"
        rows = [("report", self.file), ("size", f"{megabytes(self.bytes)}, {pictures}")]
        return [Facts(rows), *(Line(f"without {line}", "unsure") for line in self.missing)]
