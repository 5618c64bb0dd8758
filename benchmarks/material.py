"""The photographs, the weights and the seeds that trainings are measured with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RTL_SHARED", ROOT.parent / "shared"))
WEIGHTS = SHARED / "weights" / "resnet18-imagenet-partial.safetensors"
SETS = ("food3", "hymenoptera", "steel6", "food10_64px")
SEEDS = (0, 1, 2)


def read_rows(store: Path) -> list[dict[str, Any]]:
    """Return what was measured, a row a run; nothing where the file does not exist."""
    if not store.is_file():
        return []
    return [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines()]


def with_made_part(page: str, begin: str, end: str, text: str) -> str:
    """Return a page with what stands between two lines of it replaced; they stay."""
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{text}\n{end}{after}"


def append_row(row: dict[str, Any], store: Path) -> None:
    """Append a row to a file and print it."""
    with store.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)
