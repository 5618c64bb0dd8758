"""Settings: read from a TOML file and the command line, resolved, checked and stored as TOML."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from toolchain.errors import SettingsError
from toolchain.files import encode_json
from toolchain.runs.settings import TRACKERS, FinetuneSettings, describe
from toolchain.runs.settings_alignment import (
    ALIGNED_SCHEDULE,
    require_alignable,
    resolved_alignment,
)
from toolchain.runs.settings_chosen import require_nothing_chosen_twice
from toolchain.runs.settings_ignored import ignored_settings
from toolchain.runs.settings_names import did_you_mean
from toolchain.runs.settings_paths import PATHS, with_read_paths, written_path
from toolchain.runs.settings_rules import require_workable
from toolchain.runs.settings_sources import SettingsSources, refuse
from toolchain.runs.settings_values import converted, explained, require_in_bounds
from toolchain.runs.source_models import SourceModel, take_source_models
from toolchain.runs.stored_settings import LATER

Judged = Callable[[dict[str, Any]], FinetuneSettings]
"""Returns the settings with a change; raises SettingsError where they can't work."""
FROM_SCRATCH = (
    "weights none: everything is trained (strategy full); frozen layers would stay random"
)
NOT_BY_PLATEAU = (
    f"for another camera the rates fall as a {ALIGNED_SCHEDULE} (schedule {ALIGNED_SCHEDULE}): "
    "the default goes by validation images, which are not of it"
)


@dataclass(frozen=True)
class GivenSettings:
    """The settings of a run, where they were given, and what whoever gave them should know."""

    settings: FinetuneSettings
    sources: SettingsSources
    notes: tuple[str, ...]
    """One line for each thing that was given and is not used, or was chosen for the user."""
    meant: frozenset[str] = frozenset()
    """The settings that an automatic choice leaves as they are."""
    source_models: tuple[SourceModel, ...] = ()
    """The source models to choose from, the first of which the settings have; none where one is
    given."""

    def require_one_source(self, what: str) -> None:
        """Raise SettingsError where there are several source models, which `what` can't compare."""
        if self.source_models:
            reason = f"{what} takes one source model; a training chooses between several"
            change = {"weights": self.settings.weights, "arch": self.settings.arch}
            with self.sources.named():
                raise refuse("weights", reason, change)


def read_settings(config: Path | None, given: dict[str, Any]) -> FinetuneSettings:
    """Return the settings of a TOML file, replaced by those `given`.

    Raises SettingsError with the unknown key and the nearest known one, the setting and its bounds,
    or settings that can't work together. Those of a run that is trained already are read by
    `stored_settings`, whatever a later rtl thinks of them.
    """
    return gather_settings(config, given).settings


def gather_settings(
    config: Path | None,
    given: dict[str, Any],
    *,
    options: bool = False,
    comparing: bool = False,
) -> GivenSettings:
    """Return the settings as `read_settings`, with where they come from and what is not used.

    `options` says that `given` are options of the command line; errors then name them so.
    `comparing` says that each strategy is tried with these settings: the strategy can't be given.
    """
    in_file = _file_values(config)
    sources = SettingsSources(
        config, frozenset(in_file) - frozenset(given), frozenset(given), options
    )
    with sources.named():
        values, models = take_source_models(with_read_paths(in_file | given))
    notes = _fill_in(values, searches=bool(values.get("budget")) or comparing)
    _require_known(values, sources)
    meant = _meant(values, sources)

    def judged(change: dict[str, Any]) -> FinetuneSettings:
        settings = _workable(values | change)
        require_nothing_chosen_twice(settings, meant | change.keys(), comparing=comparing)
        return settings

    with sources.named():
        try:
            settings = judged({})
        except SettingsError as error:
            _keep_changes_that_work(error, judged)
            raise
    resolved = resolve(settings)
    notes += ignored_settings(resolved, values, sources)
    return GivenSettings(resolved, sources, tuple(notes), meant, models)


def _fill_in(values: dict[str, Any], *, searches: bool) -> list[str]:
    """Fill in defaults that depend on what was given, in place; return what a user should know."""
    notes = []
    if searches:
        values.setdefault("strategy", "auto")
    elif values.get("weights") == "none" and "strategy" not in values:
        # A frozen part with random weights learns nothing, so the default can't be meant.
        values["strategy"] = "full"
        notes.append(FROM_SCRATCH)
    if values.get("target") and values.get("align") != "none" and "schedule" not in values:
        values["schedule"] = ALIGNED_SCHEDULE
        notes.append(NOT_BY_PLATEAU)
    return notes


def _meant(values: dict[str, Any], sources: SettingsSources) -> frozenset[str]:
    """Return the settings that were given, without keys of a file that have their default."""
    plain = msgspec.structs.asdict(FinetuneSettings())
    return frozenset(k for k, v in values.items() if k in sources.given or v != plain[k])


def _file_values(config: Path | None) -> dict[str, Any]:
    """Return the keys and values of a TOML file; none without a file."""
    if config is None:
        return {}
    try:
        # A byte order mark, which Windows' editors write, is no part of the text.
        return tomllib.loads(config.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{config}: {(error.strerror or 'not readable').lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise SettingsError(
            f"{config} is not TOML: {error}",
            hint='a line is a key, an equals sign and a value: epochs = 10, arch = "resnet18"',
        ) from error


def _workable(values: dict[str, Any]) -> FinetuneSettings:
    """Return the settings with these values: each of its type and in bounds, together workable."""
    values = converted(values)
    try:
        settings = msgspec.convert(values, FinetuneSettings)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), values) from error
    require_in_bounds(settings)
    require_workable(settings)
    require_alignable(settings)
    return settings


def _keep_changes_that_work(error: SettingsError, judged: Judged) -> None:
    """Remove from an error the changes that would be refused too; add the default in their place.

    The nearest value within the bounds of a setting may be one that other settings rule out.
    """
    if not error.instead:
        return
    setting = str(error.setting)
    default = {setting: getattr(FinetuneSettings(), setting)}
    works = [change for change in error.instead if _works(change, judged, error)]
    error.instead = tuple(works or [default] * _works(default, judged, error))
    error.hint = SettingsSources().advice(error)


def _works(change: dict[str, Any], judged: Judged, error: SettingsError) -> bool:
    """Return whether a change leaves neither the setting of an error nor its own refused."""
    try:
        judged(change)
    except SettingsError as other:
        return other.setting not in (error.setting, *change)
    return True


def _require_known(values: dict[str, Any], sources: SettingsSources) -> None:
    known = FinetuneSettings.__struct_fields__
    for key, value in values.items():
        in_file = key in sources.in_config
        source = f"{sources.config}: " if in_file else ""
        if in_file and _is_table(value):
            raise SettingsError(
                f"{source}[{key}] is a table; settings have none",
                hint=f"write its keys at the top of the file, without the line [{key}]",
            )
        if key not in known:
            raise SettingsError(f"{source}unknown setting '{key}'; {did_you_mean(key, known)}")


def _is_table(value: Any) -> bool:
    tables = value if isinstance(value, list) else [value]
    return bool(tables) and all(isinstance(table, dict) for table in tables)


def _refusal(message: str, values: dict[str, Any]) -> SettingsError:
    """Return the error of msgspec's "Expected … - at `$.key`", with the value and what would do."""
    text, _, path = message.rpartition(" - at `$.")
    if not text:
        return SettingsError(message)
    key = path.rstrip("`").partition(".")[0].partition("[")[0]
    return refuse(key, *explained(key, values[key], f"{text[0].lower()}{text[1:]}"))


def resolve(settings: FinetuneSettings) -> FinetuneSettings:
    """Return the settings with each value that depends on another setting filled in.

    These are `auto` for preprocessing and loss, and for align where there is a target, and 0 for
    resize_size and t_max.
    """
    mode = settings.preprocessing
    if mode == "auto":
        mode = "squash" if settings.augment in ("s0", "s1") else "crop"
    loss = settings.loss
    if loss == "auto":
        loss = "bce" if settings.task == "multi-label" else "cross-entropy"
    return msgspec.structs.replace(
        settings,
        preprocessing=mode,
        resize_size=settings.resize_size or round(settings.size * 256 / 224),
        loss=loss,
        align=resolved_alignment(settings),
        t_max=settings.t_max or settings.epochs,
    )


def settings_toml(settings: FinetuneSettings, notes: Mapping[str, str] | None = None) -> str:
    """Return the settings as TOML, each below its description as a comment.

    `notes` are further comments, by the name of the setting that they are about.
    """
    lines = []
    for field in msgspec.structs.fields(FinetuneSettings):
        value = getattr(settings, field.name)
        if field.name in PATHS:
            value = written_path(value)
        # Strings, numbers and booleans are written the same in JSON and TOML, but for one letter.
        text = msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
        note = f"# {notes[field.name]}\n" if notes and field.name in notes else ""
        lines.append(f"# {describe(field)}\n{note}{field.name} = {text}\n")
    return "\n".join(lines)


def settings_sha256(settings: FinetuneSettings) -> str:
    """Return the SHA-256 of the settings that determine the result.

    The paths of the data, the target and the folder of the weights are left out, and so are the
    device and settings that affect only speed or logs. What `exclude` takes out shows in the
    fingerprint of the data.
    """
    values = msgspec.to_builtins(settings)
    values["weights"] = Path(settings.weights).name
    without_effect = ("device", "workers", "cache_gb", *TRACKERS)
    for key in ("data", "target", "exclude", "allow_leaks", *without_effect):
        del values[key]
    # Runs from before there were such settings keep their digest.
    for key in LATER:
        if values.get(key) == getattr(FinetuneSettings(), key):
            del values[key]
    return hashlib.sha256(encode_json(values, order="sorted")).hexdigest()
