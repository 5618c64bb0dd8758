"""The Python blocks of README.md and docs/: their calls fit, and docs/python.md runs."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import toolchain
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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


@pytest.mark.slow
def test_the_page_of_python_runs_and_prints_what_it_shows(tmp_path: Path, shared: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(ROOT / "configs", work / "configs")
    (tmp_path / "shared").symlink_to(shared.resolve())
    page = ROOT / "docs" / "python.md"
    body = "\n".join(blocks(page))
    script = "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in body.split("\n"))
    (work / "page.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for lines in shown:
        for line in lines.splitlines():
            assert line in done.stdout or line.startswith("time "), line
