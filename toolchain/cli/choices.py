"""An option with fixed values; an error names the value that may have been meant."""

from __future__ import annotations

from typing import Any

import click


class Choice(click.Choice[str]):
    """click's Choice, whose error names the nearest value, also by other tools' words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value. Raises click.BadParameter for one that is not among the choices."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            # Imported here, because it loads the settings, which not every command needs.
            from toolchain.runs.settings_values import meant_value

            option = "" if param is None else max(param.opts, key=len)
            name = option.removeprefix("--").replace("-", "_")
            meant = meant_value(name, str(value), list(self.choices))
            if meant is None:
                raise
            self.fail(f"{error.message.rstrip('.')}; did you mean '{meant}'?", param, ctx)
