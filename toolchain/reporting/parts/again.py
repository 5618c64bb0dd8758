"""The part about how to make the run again: command, settings, versions, digests, next commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from toolchain.printable import shell_words
from toolchain.reporting.reading.sources import RunFiles
from toolchain.runs.settings import FinetuneSettings, describe
from toolchain.runs.settings_file import resolve
from toolchain.runs.settings_groups import fields_of, grouped_settings

DERIVED = {"preprocessing": "auto", "resize_size": 0, "loss": "auto", "t_max": 0}
"""Settings that follow from others where they have these values."""


@dataclass(frozen=True)
class Again:
    """The part about repeating the run."""

    command: str
    settings: list[tuple[str, list[tuple[str, str, bool, str]]]]
    """(group, (name, value, whether it is off the default, what it means))."""
    versions: list[tuple[str, str]]
    digests: list[tuple[str, str]]
    following: list[tuple[str, str]]
    """(command, what it does)."""


def again(files: RunFiles) -> Again:
    """Return the part."""
    card, path = files.card, files.folder.path
    changed = changed_settings(files.settings)
    settings = [
        (title, [_row(files.settings, field, changed) for field in fields_of(names)])
        for title, names in grouped_settings().items()
    ]
    return Again(
        command=training_command(files.settings, changed),
        settings=settings,
        versions=[*card.versions.items()],
        digests=[
            ("data", card.data_sha256),
            ("settings", card.settings_sha256),
            ("weights", card.weights.sha256),
        ],
        following=_following(files, str(path)),
    )


def changed_settings(settings: FinetuneSettings) -> dict[str, Any]:
    """Return the settings that are off their defaults, those that follow from others left out."""
    usual = FinetuneSettings()
    derived = resolve(msgspec.structs.replace(settings, **DERIVED))
    changed = {}
    for name in FinetuneSettings.__struct_fields__:
        value = getattr(settings, name)
        expected = getattr(derived if name in DERIVED else usual, name)
        if name != "data" and value != expected:
            changed[name] = value
    return changed


def training_command(settings: FinetuneSettings, changed: dict[str, Any]) -> str:
    """Return the command that trains with these settings."""
    words: list[object] = ["rtl", "finetune", settings.data]
    for name, value in changed.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        else:
            words += [option, value]
    return shell_words(*words)


def _row(
    settings: FinetuneSettings, field: msgspec.structs.FieldInfo, changed: dict[str, Any]
) -> tuple[str, str, bool, str]:
    value = getattr(settings, field.name)
    shown = ("on" if value else "off") if isinstance(value, bool) else str(value)
    return field.name, shown, field.name in changed, describe(field)


def _following(files: RunFiles, path: str) -> list[tuple[str, str]]:
    """Return the commands that add what the report lacks, else those that use the model."""
    found = []
    if files.evaluation is None:
        found.append((files.evaluate_command, "measure it, image by image"))
    if not files.models:
        found.append((shell_words("rtl", "export", path), "make a model file, verified"))
    if files.models and not files.benchmarks:
        found.append((shell_words("rtl", "bench", path), "measure how fast the files are"))
    if files.models:
        model = str(files.models[0].path)
        found += [
            (shell_words("rtl", "verify", model), "prove the file again, on any machine"),
            (shell_words("rtl", "predict", model, "IMAGE"), "label an image"),
        ]
    return found
