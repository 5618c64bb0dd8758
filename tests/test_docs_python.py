"""The Python blocks of README.md and docs/: their calls fit; `make docs-check` runs a page."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import toolchain
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SIGNATURES_ONLY = "api.md"
"""Its Python blocks are signatures; its examples are doctests."""


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield (name, call) of each call of `rtl.NAME(…)` or `Predictor(…)`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            place, _, name = ast.unparse(node.func).rpartition(".")
            if place == "rtl" or (not place and name == "Predictor"):
                yield name, node


def misfit(name: str, call: ast.Call) -> str | None:
    """Return why a call does not fit the function; None where it does."""
    function = getattr(toolchain, name, None)
    if function is None:
        return f"toolchain has no {name}"
    try:
        inspect.signature(function).bind(
            *call.args, **{str(word.arg): word.value for word in call.keywords}
        )
    except TypeError as error:
        return f"{name}: {error}"
    return None


def test_calls_in_the_docs_fit_the_functions() -> None:
    found = [
        (page.name, misfit(name, call))
        for page in PAGES
        if page.name != SIGNATURES_ONLY
        for block in blocks(page)
        for name, call in calls(block)
    ]
    assert len(found) > 10
    assert [item for item in found if item[1] is not None] == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("rtl.evalute('run')", "toolchain has no evalute"),
        ("rtl.evaluate('run', batches=3)", "evaluate: got an unexpected keyword argument"),
        ("rtl.verify()", "verify: missing a required argument"),
    ],
)
def test_a_wrong_call_in_the_docs_would_be_found(source: str, reason: str) -> None:
    [(name, call)] = calls(source)
    assert reason in str(misfit(name, call))
