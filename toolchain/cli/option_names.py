"""Options that do not exist: the error names those that may have been meant."""

from __future__ import annotations

import click

from toolchain.runs.settings_names import nearest_names


def unknown_option(error: click.NoSuchOption) -> str:
    """Return the error for an option that a command does not have, with the nearest it has."""
    names = {} if error.ctx is None else _names(error.ctx.command)
    near = [names[name] for name in nearest_names(error.option_name, list(names))]
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"no option '{error.option_name}'{meant}"


def _names(command: click.Command) -> dict[str, str]:
    """Return each option and argument of a command: its name, and how it is shown in an error."""
    names = {}
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            shown = (parameter.metavar or parameter.name or "").upper().rstrip(".")
            names[str(parameter.name)] = f"the argument {shown}, without an option"
            continue
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("--"):
                names[option] = option
    return names
