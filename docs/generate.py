"""Write the generated pages of docs/: settings.md, card.schema.json, api.md (`make docs`)."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from toolchain.runs.settings import FinetuneSettings, describe
from toolchain.runtime.card import Card

DOCS = Path(__file__).resolve().parent

HEAD = """\
<!-- Made by docs/generate.py from toolchain/runs/settings.py; `make docs` makes it again. -->

# Settings

Every setting of `rtl finetune`. Each is an option on the command line, a key in a TOML file for
`--config`, and a line in the run folder's `settings.toml`. An option replaces what the file says.
A key that is not listed here, or a value out of its bounds, is refused by name.

| option | TOML key | values | default | what it does |
|---|---|---|---|---|
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
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **msgspec.json.schema(Card),
    }
    return {
        "settings.md": HEAD + "".join(row(f) for f in msgspec.structs.fields(FinetuneSettings)),
        "card.schema.json": msgspec.json.format(msgspec.json.encode(schema)).decode() + "\n",
        "api.md": api["api_page"](),
    }


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
