"""Which run of a tracker belongs to a run folder, so that a resumed run goes on in it."""

from __future__ import annotations

import json
from typing import Any

from toolchain.files import write_json
from toolchain.runs.runfolder import RunFolder


def read_identity(run: RunFolder, tracker: str) -> str | None:
    """Return the id that a tracker gave the run; None for a new run, or where it can't be read."""
    found = _identities(run).get(tracker)
    return found if isinstance(found, str) else None


def write_identity(run: RunFolder, tracker: str, identity: str) -> None:
    """Keep the id that a tracker gave the run."""
    write_json(run.trackers, {**_identities(run), tracker: identity})


def _identities(run: RunFolder) -> dict[str, Any]:
    try:
        found = json.loads(run.trackers.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
