"""Help texts: options in named groups, one line or two each, at the width of the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

MOST_COLUMNS = 120
"""Wider lines than this are hard to read, whatever the terminal's width."""
WIDEST_OPTION = 27
"""Letters of an option with its choices; longer lists of choices stand in the text."""
SHORT_METAVARS = {"integer": "N", "integer range": "N", "float": "X", "float range": "X"}
REST = "Output and help"
"""Title of the options that are in no group."""


class GroupedCommand(click.Command):
    """A command whose help lists its options under titles.

    `groups` are titles and the names of parameters, in order. An option that is in none of them
    goes under `rest`.
    """

    def __init__(
        self,
        *words: Any,
        groups: Mapping[str, Sequence[str]] | None = None,
        rest: str = REST,
        **options: Any,
    ) -> None:
        super().__init__(*words, **options)
        self.groups, self.rest = groups or {}, rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        options = {p.name: p for p in self.get_params(ctx) if isinstance(p, click.Option)}
        for title, names in self.groups.items():
            _write_section(title, [options.pop(n) for n in names if n in options], ctx, formatter)
        _write_section(self.rest if self.groups else "Options", options.values(), ctx, formatter)


def _write_section(
    title: str,
    options: Sequence[click.Option] | Any,
    ctx: click.Context,
    formatter: click.HelpFormatter,
) -> None:
    records = [record for option in options if (record := help_record(option, ctx)) is not None]
    if records:
        with formatter.section(title):
            formatter.write_dl(records)


def help_record(option: click.Option, ctx: click.Context) -> tuple[str, str] | None:
    """Return (the option as it is typed, its text), short enough for two columns.

    A switch is `--[no-]cache`, a number N or X. Choices that are too long for the first column
    come after the text, unless it has all of them.
    """
    record = option.get_help_record(ctx)
    if record is None:
        return None
    _, text = record
    names = ", ".join(sorted(option.opts, key=len))
    if option.secondary_opts:
        return f"--[no-]{option.opts[0].removeprefix('--')}", text
    if option.is_flag:
        return names, text
    if isinstance(option.type, click.Choice):
        choices = [str(choice) for choice in option.type.choices]
        listed = "|".join(choices)
        if len(f"{names} {listed}") <= WIDEST_OPTION:
            return f"{names} {listed}", text
        if not all(choice in text for choice in choices):
            text = _with_choices(text, choices)
        return f"{names} NAME", text
    metavar = option.metavar or SHORT_METAVARS.get(option.type.name, option.type.name.upper())
    return f"{names} {metavar}", text


def _with_choices(text: str, choices: Sequence[str]) -> str:
    """Return a text with the choices before its default, which stands in brackets at its end."""
    before, bracket, default = text.rpartition("  [")
    listed = f"One of {', '.join(choices)}"
    if not bracket:
        return f"{text} {listed}."
    return f"{before} {listed}.{bracket}{default}"
