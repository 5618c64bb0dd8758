"""The text of docs/commands.md: what each command takes, as click declares it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from toolchain.cli.help import help_record
from toolchain.cli.main import COMMANDS, rtl
from toolchain.runs.settings import FinetuneSettings

HEAD = """\
<!-- Made by docs/generate_commands.py from the command line; `make docs` makes it again. -->

# Commands

What `rtl COMMAND --help` prints, on one page. Settings of `rtl finetune` have a page of their own:
[settings.md](settings.md). Exit statuses and what to do about errors: [errors.md](errors.md).

"""
TABLE = "| option | default | what it does |\n|---|---|---|\n"
SETTINGS = "Each setting of [settings.md](settings.md) is an option of this command too.\n"
PAGE = re.compile(r"\bdocs/(\w+\.md)")
EXAMPLES = "\b"
"""The mark of click's for a paragraph that keeps its lines."""


def commands_page() -> str:
    """Return the page of all commands: usage, what it does, examples and a table of options."""
    commands = list(all_commands())
    names = {context.command_path: context for context, _ in commands}
    parts = [HEAD]
    for name, line in COMMANDS.items():
        path = next(path for path in names if path.startswith(f"rtl {name}"))
        parts.append(f"- [`{path}`](#{path.replace(' ', '-')}): {line}\n")
    parts += (section(context, command) for context, command in commands)
    return "".join(parts)


def all_commands() -> Iterator[tuple[click.Context, click.Command]]:
    """Yield every command that does something, in the order of `rtl --help`."""
    yield from _below(rtl, click.Context(rtl, info_name="rtl"))


def _below(
    command: click.Command, context: click.Context
) -> Iterator[tuple[click.Context, click.Command]]:
    if not isinstance(command, click.Group):
        yield context, command
        return
    if command.invoke_without_command:
        yield context, command
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _below(found, click.Context(found, info_name=name, parent=context))


def section(context: click.Context, command: click.Command) -> str:
    """Return the part of one command."""
    usage = " ".join(command.collect_usage_pieces(context))
    title = f"\n## {context.command_path}\n\n```text\n{context.command_path} {usage}\n```\n\n"
    settings = f"{SETTINGS}\n" if context.info_name == "finetune" else ""
    rows = "".join(option_row(option, context) for option in own_options(context, command))
    return f"{title}{description(command)}{settings}{TABLE}{rows}"


def description(command: click.Command) -> str:
    """Return the help text as Markdown, with its examples as a block."""
    parts = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.lstrip().startswith(EXAMPLES):
            parts.append(f"```text\n{paragraph.lstrip().removeprefix(EXAMPLES).strip()}\n```\n\n")
        else:
            parts.append(f"{marked(paragraph)}\n\n")
    return "".join(parts)


def own_options(context: click.Context, command: click.Command) -> list[click.Option]:
    """Return a command's options, without the settings of training and the help."""
    of_page = FinetuneSettings.__struct_fields__ if context.info_name == "finetune" else ()
    # `--data` of finetune is a setting by its name, and another thing on the command line.
    elsewhere = {*of_page} - {"data"}
    return [
        option
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and option.name not in elsewhere
    ]


def option_row(option: click.Option, context: click.Context) -> str:
    """Return the table row of one option."""
    record = help_record(option, context)
    assert record is not None
    name, text = record
    text = re.sub(r"\s*\[default: [^\]]*\]$", "", text).replace("  ", " ")
    default = default_text(option)
    cells = (f"`{name}`", default, marked(text))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def default_text(option: click.Option) -> str:
    """Return the value that an option has where it is not given; nothing where it has none."""
    if option.is_flag and not option.secondary_opts:
        return ""
    default = option.to_info_dict()["default"]
    if default in (None, "", ()) or not isinstance(default, str | int | float | tuple | Path):
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    values = default if isinstance(default, tuple) else (default,)
    return ", ".join(f"`{value}`" for value in values)


def marked(text: str) -> str:
    """Return a help text as Markdown: pages as links, and no star that would begin an emphasis."""
    return PAGE.sub(r"[\1](\1)", text).replace("*", r"\*")
