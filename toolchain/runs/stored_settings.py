"""The settings of a run as they are stored, without the rules for new ones.

They were checked when the run began. A rule that came later must not keep an older run from being
evaluated or exported.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from toolchain.runs.damage import reading
from toolchain.runs.settings import ALIGNING, CHOOSING, RESIZING, SPLITTING, FinetuneSettings
from toolchain.runs.settings_paths import with_read_paths

NEVER_EMPTY = ("data", "arch")
"""Settings without which a run can't be used; others, such as group_column, may be empty."""
LATER = (
    *SPLITTING,
    *CHOOSING,
    *ALIGNING,
    *RESIZING,
    "rank",
    "exclude",
    "allow_leaks",
    "mlflow",
    "wandb",
)
"""Settings that runs of an older rtl lack; their defaults are what it did, so that they are no part
of a digest of settings that have the default."""


def stored_settings(file: Path, *, whole: bool = False) -> FinetuneSettings:
    """Return the settings in a run's settings.toml; DataError where it is damaged.

    `whole` asks for every setting, as training does: a missing one would get another value without
    a word. A finished run may be of an older rtl, which had fewer.
    """
    with reading(file):
        # Editors on Windows write a byte order mark.
        return decode_settings(file.read_text(encoding="utf-8-sig"), whole=whole)


def decode_settings(text: str, *, whole: bool = False) -> FinetuneSettings:
    """Return the settings in the text of a settings.toml; raise ValueError where it lacks some."""
    values = tomllib.loads(text)
    settings = msgspec.convert(with_read_paths(values), FinetuneSettings)
    needed = [n for n in FinetuneSettings.__struct_fields__ if n not in LATER]
    needed = needed if whole else list(NEVER_EMPTY)
    missing = [n for n in needed if n not in values or (n in NEVER_EMPTY and not values[n])]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ValueError(f"it lacks {', '.join(missing[:3])}{more}")
    return settings
