"""docs/errors.md: every class with its exit status, and messages that the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.conftest import ROOT
from toolchain.errors import ToolchainError

PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## (\w+), (\d+)$", PAGE, re.MULTILINE)
STATUSES = re.findall(r"^\| ([\d, ]+) \| .* \| (?:\[(\w+)\])?", PAGE, re.MULTILINE)
OTHERS = {"0": "", "1": "", "143, 129": "Interrupted"}
"""Exit statuses that are of no class, or of signals."""

QUOTED = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
OF_LIBRARIES = {"No such option"}
"""Messages whose words are click's."""


def classes(of: type[ToolchainError] = ToolchainError) -> Iterator[type[ToolchainError]]:
    for found in of.__subclasses__():
        if found.__module__ == "toolchain.errors":
            yield found
            yield from classes(found)


def test_every_class_of_errors_has_a_part_with_its_exit_status() -> None:
    assert sorted(HEADINGS) == sorted((c.__name__, str(c.exit_code)) for c in classes())


def test_the_table_has_every_exit_status_with_its_class() -> None:
    expected = {str(c.exit_code): c.__name__ for c in classes()} | OTHERS
    assert dict(STATUSES) == expected


@cache
def texts() -> tuple[str, ...]:
    """Every text of the code, with `…` where a value is put in."""
    found = []
    for path in (ROOT / "toolchain").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)


@pytest.mark.parametrize("message", [m for m in QUOTED.findall(PAGE) if m not in OF_LIBRARIES])
def test_a_quoted_message_is_one_of_the_code(message: str) -> None:
    # In its order: what is written between two values.
    parts = [part for part in message.split("…") if part.strip(" :,()")]
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    assert any(pattern.search(text) for text in texts()), parts
