"""Help texts: groups, widths, and options as they are typed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click
import pytest

from toolchain.cli.help import GroupedCommand
from toolchain.cli.main import COMMANDS, rtl
from toolchain.runs.settings_groups import OTHER, grouped_settings

MOST_USED = (
    "--weights",
    "--strategy",
    "--epochs",
    "--size",
    "--batch-size",
    "--lr-head",
    "--output",
    "--resume",
    "--config",
)


def commands() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        command = importlib.import_module(f"toolchain.cli.{name}").command
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {sub}", found) for sub, found in command.commands.items())


EVERY = list(commands())


def help_text(command: click.Command, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    parent = rtl.make_context("rtl", ["doctor"])
    return command.get_help(click.Context(command, info_name="x", parent=parent))


def sections(text: str) -> dict[str, str]:
    """Return the titles of a help text and what stands under each."""
    found: dict[str, str] = {}
    title = ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            title = line.rstrip(":")
        found[title] = f"{found.get(title, '')}\n{line}"
    return found


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(("name", "command"), EVERY, ids=[name for name, _ in EVERY])
def test_no_line_of_a_help_is_wider_than_the_terminal(
    name: str, command: click.Command, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = help_text(command, columns, monkeypatch).splitlines()
    assert max(map(len, lines)) <= columns


@pytest.mark.parametrize(("name", "command"), EVERY, ids=[name for name, _ in EVERY])
def test_more_than_twelve_options_are_grouped_and_none_is_lost(
    name: str, command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [p for p in command.params if isinstance(p, click.Option)]
    found = sections(help_text(command, 100, monkeypatch))
    if len(options) > 12:
        assert isinstance(command, GroupedCommand)
        assert len(found) > 3
        assert max(text.count("\n  -") for text in found.values()) <= 12
    for option in options:
        longest = max(option.opts, key=len)
        shown = f"--[no-]{longest[2:]}" if option.secondary_opts else longest
        assert sum(f"{shown} " in f"{text} " for text in found.values()) >= 1, option.name


@pytest.mark.parametrize(("name", "command"), EVERY, ids=[name for name, _ in EVERY])
def test_no_default_is_shown_empty(
    name: str, command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "[default: ]" not in " ".join(help_text(command, 100, monkeypatch).split())


def test_finetune_begins_with_what_is_needed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    command = importlib.import_module("toolchain.cli.finetune").command
    found = sections(help_text(command, 80, monkeypatch))
    titles = list(found)
    assert titles[1] == "Most used"
    assert {"Optimiser", "Regularisation", "Hardware and speed"} <= set(titles)
    assert all(option in found["Most used"] for option in MOST_USED)


def test_every_setting_stands_in_one_group() -> None:
    names = [name for group in grouped_settings().values() for name in group]
    assert len(names) == len(set(names))
    assert OTHER not in grouped_settings(), "add the setting to runs/settings_groups.py"


def test_choices_that_are_too_long_for_the_column_stand_in_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = importlib.import_module("toolchain.cli.finetune").command
    text = " ".join(help_text(command, 120, monkeypatch).split())
    assert "--optimizer adam|adamw|sgd The optimiser." in text
    assert "compares those of ImageNet. One of resnet18, resnet34," in text
    # The description of the strategies has them all.
    assert "One of head" not in text
