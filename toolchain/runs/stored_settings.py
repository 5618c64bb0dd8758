"""The settings of a run as they are stored, without the rules for new ones.

They were checked when the run began. A rule that came later must not keep an older run from being
evaluated or exported.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from toolchain.runs.damage import reading
from toolchain.runs.settings import FinetuneSettings


def stored_settings(file: Path) -> FinetuneSettings:
    """Return the settings in a run's settings.toml; DataError where it is damaged."""
    with reading(file):
        # Editors on Windows write a byte order mark.
        values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        return msgspec.convert(values, FinetuneSettings)
