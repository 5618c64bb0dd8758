"""Where each setting was given, so that an error names the option, or the file and its key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.errors import SettingsError
from toolchain.printable import shell_words


def refuse(setting: str, reason: str, *instead: dict[str, Any]) -> SettingsError:
    """Return the error that refuses a setting; each of `instead` is a change that would work."""
    error = SettingsError(f"{setting}: {reason}", setting=setting, instead=instead)
    error.hint = SettingsSources().advice(error)
    return error


@dataclass(frozen=True)
class SettingsSources:
    """Where the settings of a run were given; what is in neither place has its default."""

    config: Path | None = None
    in_config: frozenset[str] = frozenset()
    """Keys of the TOML file that nothing on the command line replaced."""
    given: frozenset[str] = frozenset()
    """Settings given on the command line, or as arguments in Python."""
    options: bool = False
    """Whether these were options of the command line."""

    def name(self, setting: str) -> str:
        """Return how whoever gave a setting has written it."""
        if setting in self.in_config:
            return f"{self.config}: {setting}"
        return self.option(setting) if self.options else setting

    def option(self, setting: str) -> str:
        """Return the option of a setting, or its name in Python."""
        if not self.options:
            return setting
        return "DATA" if setting == "data" else f"--{setting.replace('_', '-')}"

    def advice(self, error: SettingsError) -> str | None:
        """Return the changes that would work as they are typed; None where none is known."""
        return " or ".join(self.typed(change) for change in error.instead) or None

    def typed(self, change: dict[str, Any]) -> str:
        """Return values of settings as they are typed: `--epochs 6`, or in Python `epochs=6`."""
        return " ".join(self._typed(setting, value) for setting, value in change.items())

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Raise the errors of settings from the block with the name that the user has typed."""
        try:
            yield
        except SettingsError as error:
            if error.setting is None:
                raise
            raise self.restated(error) from error

    def restated(self, error: SettingsError) -> SettingsError:
        """Return the error of a setting, with the name of the setting as it was typed."""
        assert error.setting is not None
        reason = str(error).removeprefix(f"{error.setting}: ")
        default = not {error.setting} & (self.in_config | self.given)
        name = self.name(error.setting) + (" (its default)" if default else "")
        return SettingsError(
            f"{name}: {reason}",
            hint=self.advice(error) or error.hint,
            setting=error.setting,
            instead=error.instead,
        )

    def _typed(self, setting: str, value: Any) -> str:
        if not self.options:
            return f"{setting}={value!r}"
        option = self.option(setting)
        if isinstance(value, bool):
            return option if value else f"--no-{option[2:]}"
        several = value if isinstance(value, list) else [value]
        return shell_words(*(word for each in several for word in (option, each)))
