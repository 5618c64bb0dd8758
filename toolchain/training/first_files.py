"""The files that a run folder appears with: its settings, and what they were chosen by."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from toolchain.files import encode_json, real_path
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import settings_toml
from toolchain.training.choosing import Choice


class FirstFiles(NamedTuple):
    """The texts of these files."""

    settings: str
    selection: str | None = None
    """None where the settings were given and not chosen."""


def first_files(settings: FinetuneSettings, choice: Choice, run: RunFolder) -> FirstFiles:
    """Return the files of a run with these settings; what was chosen is noted in them."""
    settings = _with_absolute_paths(settings)
    selection = choice.selection
    if selection is None:
        return FirstFiles(settings_toml(settings))
    asked_for = {**(selection.source.asked if selection.source else {}), **selection.asked}
    asked = ", ".join(f"{name} {value}" for name, value in asked_for.items())
    note = f"Chosen, as {run.selection.name} says; asked for was {asked}."
    text = settings_toml(settings, dict.fromkeys(selection.all_chosen, note))
    return FirstFiles(text, encode_json(selection).decode())


def _with_absolute_paths(settings: FinetuneSettings) -> FinetuneSettings:
    """Return the settings with absolute paths: a run may later be opened from another folder."""
    weights, exclude, target = settings.weights, settings.exclude, settings.target
    if weights not in ("imagenet", "none"):
        weights = str(real_path(weights))
    return msgspec.structs.replace(
        settings,
        data=str(real_path(settings.data)),
        weights=weights,
        target=str(real_path(target)) if target else "",
        exclude=str(real_path(exclude)) if exclude else "",
    )
