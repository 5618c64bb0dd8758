"""Write the generated pages of docs/ (`make docs`): commands, settings, glossary, API, schema."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from toolchain.glossary import OF_COMMAND, TOPICS
from toolchain.runs.settings import describe
from toolchain.runs.settings_groups import fields_of, grouped_settings
from toolchain.runtime.card import Card

DOCS = Path(__file__).resolve().parent

SETTINGS_HEAD = """\
<!-- Made by docs/generate.py from toolchain/runs/settings.py; `make docs` makes it again. -->

# Settings

Every setting of `rtl finetune`. Each is an option on the command line, a key in a TOML file for
`--config`, and a line in the run folder's `settings.toml`. An option replaces what the file says.
A key that is not listed here, or a value out of its bounds, is refused by name.
"""
TABLE = """\

## {title}

| option | TOML key | values | default | what it does |
|---|---|---|---|---|
"""
GLOSSARY_HEAD = """\
<!-- Made by docs/generate.py from toolchain/glossary.py; `make docs` makes it again. -->

# Glossary

What the figures mean that rtl prints. `--explain` adds these lines to the output of a
command, those for the figures that are in it.
"""
TYPES = {int: "whole number", float: "number", str: "text", bool: "true or false"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def main() -> None:
    """Write every generated page and print its name."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}")


def pages() -> dict[str, str]:
    """Return the text of every generated page, by its file name."""
    api = runpy.run_path(str(DOCS / "generate_api.py"))
    commands = runpy.run_path(str(DOCS / "generate_commands.py"))
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **null_last(msgspec.json.schema(Card)),
    }
    return {
        "settings.md": settings_page(),
        "card.schema.json": msgspec.json.format(msgspec.json.encode(schema)).decode() + "\n",
        "api.md": api["api_page"](),
        "commands.md": commands["commands_page"](),
        "glossary.md": glossary_page(),
    }


def null_last(schema: Any) -> Any:
    """Return a JSON schema with `null` as the last choice of each `anyOf`.

    Where it stands, and nothing else, depends on the version of msgspec.
    """
    if isinstance(schema, list):
        return [null_last(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: null_last(value) for key, value in schema.items()}
    if isinstance(found.get("anyOf"), list):
        found["anyOf"].sort(key=lambda choice: choice == {"type": "null"})
    return found


def settings_page() -> str:
    """Return the page of all settings, a table for each group."""
    groups = grouped_settings()
    # The argument comes first of all.
    first, *others = groups
    groups = {
        first: ("data", *groups[first]),
        **{title: tuple(n for n in groups[title] if n != "data") for title in others},
    }
    tables = (
        TABLE.format(title=title) + "".join(row(field) for field in fields_of(names))
        for title, names in groups.items()
        if names
    )
    return SETTINGS_HEAD + "".join(tables)


def glossary_page() -> str:
    """Return the page of terms, a table for each topic."""
    parts = [GLOSSARY_HEAD]
    for topic, terms in TOPICS.items():
        commands = ", ".join(f"`rtl {name}`" for name, of in OF_COMMAND.items() if topic in of)
        parts.append(f"\n## {topic.capitalize()}\n\nPrinted by {commands}.\n\n")
        parts.append("| term | meaning |\n|---|---|\n")
        # A star would begin an emphasis.
        rows = (f"| {term.name} | {term.meaning} |\n".replace("*", r"\*") for term in terms)
        parts += rows
    return "".join(parts)


def row(field: FieldInfo) -> str:
    """Return the Markdown table row of one setting."""
    option = f"`--{field.name.replace('_', '-')}`"
    if field.name == "data":
        option = "`DATA`, the argument"
    default = msgspec.json.encode(field.default).decode()
    cells = (option, f"`{field.name}`", allowed_values(field.type), f"`{default}`", describe(field))
    return f"| {' | '.join(cells)} |\n"


def allowed_values(annotated: Any) -> str:
    """Return the values that an annotated type allows: its choices, or its kind and bounds."""
    kind, *metas = get_args(annotated)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    bounds = [
        f"{sign} {bound:.10g}"
        for meta in metas
        if isinstance(meta, Meta)
        for name, sign in BOUNDS.items()
        if (bound := getattr(meta, name)) is not None
    ]
    return f"{TYPES[kind]} {' and '.join(bounds)}".strip()


if __name__ == "__main__":
    main()
