"""A sweep of learning rates whose folder can't be written is still a result."""

from __future__ import annotations

from pathlib import Path

from toolchain.progress import SilentReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.training.lr_find import LrFindResult, _kept


class Messages(SilentReporter):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def test_the_suggestion_is_shown_where_it_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file in the place of a folder")
    result = LrFindResult(
        lr_head=0.003, lr_backbone=None, rates=[1e-3, 1e-2], losses=[1.0, 0.5], picture="x.png"
    )
    said = Messages()
    kept = _kept(result, 0.003, RunFolder(tmp_path / "file" / "run"), said)
    assert (kept.lr_head, kept.picture) == (0.003, None)
    assert "warning: the result is not kept in" in said.lines[0]
    assert "picture" not in str(kept)
