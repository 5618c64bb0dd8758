"""Settings: read from a TOML file and the command line, resolved, checked and stored as TOML."""

from __future__ import annotations

import difflib
import hashlib
import math
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote_to_bytes

import msgspec

from toolchain.errors import SettingsError
from toolchain.files import encode_json, unicode_name
from toolchain.runs.settings import FinetuneSettings, describe

PATHS = ("data", "weights")
"""Settings that may be paths."""
FILE_URI = "file://"


def read_settings(config: Path | None, given: dict[str, Any]) -> FinetuneSettings:
    """Return the settings of a TOML file, replaced by those `given` on the command line.

    Raises SettingsError with the unknown key and the nearest known one, or the setting and its
    bounds.
    """
    values: dict[str, Any] = {}
    if config is not None:
        try:
            values = tomllib.loads(config.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(
                f"{config}: {(error.strerror or 'not readable').lower()}"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{config} is not TOML: {error}") from error
    source = f"{config}: " if config else ""
    values |= given
    values |= {name: read_path(values[name]) for name in PATHS if isinstance(values.get(name), str)}
    _require_known(values, source)
    try:
        settings = msgspec.convert(values, FinetuneSettings)
    except msgspec.ValidationError as error:
        raise SettingsError(source + _explained(str(error), values)) from error
    for key, value in values.items():
        # Without an upper bound msgspec accepts infinity.
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingsError(f"{source}{key}: expected a finite number, got {value}")
    return resolve(settings)


def _require_known(values: dict[str, Any], source: str) -> None:
    known = FinetuneSettings.__struct_fields__
    for key in values:
        if key not in known:
            raise SettingsError(f"{source}unknown setting '{key}'; {_nearest(key, known)}")


def _nearest(word: str, known: Sequence[str]) -> str:
    """Return a question with the name that is most like `word`; all names where none is."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"


def _explained(message: str, values: dict[str, Any]) -> str:
    """Return msgspec's "Expected … - at `$.key`" as "key: expected …, got VALUE".

    A word that is not among the choices of its setting gets the nearest one, or all of them.
    """
    text, _, path = message.rpartition(" - at `$.")
    if not text:
        return message
    key = path.rstrip("`")
    if text.startswith("Invalid enum value"):
        [kind] = [f.type for f in msgspec.structs.fields(FinetuneSettings) if f.name == key]
        text += f"; {_nearest(values[key], _choices(kind))}"
    elif ", got " not in text:
        text += f", got {values[key]!r}"
    return f"{key}: {text[0].lower()}{text[1:]}"


def _choices(kind: Any) -> tuple[str, ...]:
    """Return the choices of a setting: a Literal, or one with a description around it."""
    choices = get_args(kind)
    return choices if isinstance(choices[0], str) else get_args(choices[0])


def resolve(settings: FinetuneSettings) -> FinetuneSettings:
    """Return the settings with each value that depends on another setting filled in.

    These are `auto` for preprocessing and loss, and 0 for resize_size and t_max. Raises
    SettingsError where two settings contradict each other.
    """
    mode = settings.preprocessing
    if mode == "auto":
        mode = "squash" if settings.augment in ("s0", "s1") else "crop"
    resize_size = settings.resize_size or round(settings.size * 256 / 224)
    if mode == "crop" and resize_size < settings.size:
        raise SettingsError(f"resize_size: {resize_size} is smaller than size {settings.size}")
    freeze = settings.freeze_until
    if freeze not in ("third", "layer1", "layer2", "layer3", "layer4") and not freeze.isdecimal():
        raise SettingsError(
            f"freeze_until: '{freeze}' is not layer1 to layer4, third, or a number of layers"
        )
    _require_consistent(settings)
    loss = settings.loss
    if loss == "auto":
        loss = "bce" if settings.task == "multi-label" else "cross-entropy"
    return msgspec.structs.replace(
        settings,
        preprocessing=mode,
        resize_size=resize_size,
        loss=loss,
        t_max=settings.t_max or settings.epochs,
    )


def _require_consistent(settings: FinetuneSettings) -> None:
    if settings.task == "multi-label" and settings.loss == "cross-entropy":
        raise SettingsError("loss: cross-entropy needs one class an image; multi-label takes bce")
    if settings.task == "single-label" and settings.loss == "bce":
        raise SettingsError("loss: bce is for --task multi-label, whose labels come from a CSV")
    if settings.task == "multi-label" and settings.balanced_sampling:
        raise SettingsError(
            "balanced_sampling: an image of several classes belongs to none of them alone; "
            "for multi-label use class_weights"
        )
    if settings.schedule == "one-cycle" and settings.warmup_epochs:
        raise SettingsError("warmup_epochs: one-cycle warms up by itself, for cycle_warmup of it")
    schedule_epochs = settings.epochs
    if settings.schedule == "cosine" and settings.t_max:
        schedule_epochs = min(settings.t_max, settings.epochs)
    if settings.warmup_epochs and settings.warmup_epochs >= schedule_epochs:
        raise SettingsError(
            f"warmup_epochs: {settings.warmup_epochs} of {schedule_epochs} leave none at the full "
            "rate"
        )
    if settings.strategy == "two-stage" and settings.head_epochs >= settings.epochs:
        raise SettingsError(
            f"head_epochs: {settings.head_epochs} of {settings.epochs} epochs leave none for the "
            "second stage"
        )


def written_path(path: str) -> str:
    """Return a path as text that TOML can hold: a file URI where its name is not UTF-8."""
    return path if unicode_name(path) == path else Path(path).as_uri()


def read_path(text: str) -> str:
    """Return the path that `written_path` has written."""
    if not text.startswith(FILE_URI):
        return text
    return os.fsdecode(unquote_to_bytes(text.removeprefix(FILE_URI)))


def settings_toml(settings: FinetuneSettings) -> str:
    """Return the settings as TOML, each below its description as a comment."""
    lines = []
    for field in msgspec.structs.fields(FinetuneSettings):
        value = getattr(settings, field.name)
        if field.name in PATHS:
            value = written_path(value)
        # Strings, numbers and booleans are written the same in JSON and TOML, but for one letter.
        text = msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
        lines.append(f"# {describe(field)}\n{field.name} = {text}\n")
    return "\n".join(lines)


def settings_sha256(settings: FinetuneSettings) -> str:
    """Return the SHA-256 of the settings that determine the result.

    The paths of the data and of the folder of the weights are left out, and so are the device and
    settings that affect only speed or logs.
    """
    values = msgspec.to_builtins(settings)
    values["weights"] = Path(settings.weights).name
    for key in ("data", "device", "workers", "cache_gb", "tensorboard"):
        del values[key]
    return hashlib.sha256(encode_json(values, order="sorted")).hexdigest()
