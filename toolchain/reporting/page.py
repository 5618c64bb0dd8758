"""Renders the templates. Every text goes through `printable` and is escaped, whoever wrote it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from toolchain.display import megabytes, percent
from toolchain.printable import printable

TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(template: str, **values: Any) -> str:
    """Return a template with these values as HTML."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "megabytes": megabytes}
    script = (TEMPLATES / "script.js").read_text(encoding="utf-8")
    digest = hashlib.sha256(script.encode()).digest()
    return environment.get_template(template).render(
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        # Only this script may run, whatever a name in the page consists of.
        script_sha256=base64.b64encode(digest).decode(),
        **values,
    )


def _finalized(value: Any) -> Any:
    """Return a value as the page shows it: a text without control characters, HTML as it is."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return printable(value)
    return "" if value is None else value
