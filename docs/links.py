"""Check the links of README.md, docs/ and the other pages: every file and every #anchor exists.

    python docs/links.py

Checked are links to files of the project, from the text of a page and from images. Links to other
sites are not followed: a check of the documents needs no network.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent

LINK = re.compile(r"((?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^()\s]+)(\))")
"""`[text](target)`; the text may hold an image, which is a link of its own."""
IMAGE = re.compile(r"(!\[[^\]]*\]\()([^()\s]+)(\))")
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
HEADING = re.compile(r"#{1,6} +(.+?)(?: +#+)?")
EXPLICIT = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


@dataclass(frozen=True)
class Link:
    """A link of a page."""

    line: int
    target: str
    """As it is written: a path, a path and an anchor, or an anchor of the same page."""


def main() -> int:
    """Print every broken link; return the exit status."""
    found = [problem for page in pages() for problem in broken(page)]
    for problem in found:
        print(problem)
    print(f"{len(pages())} pages, {len(found)} broken links")
    return 1 if found else 0


def pages(root: Path = ROOT) -> list[Path]:
    """Return the Markdown pages of the project."""
    folders = ("docs", "examples", "benchmarks")
    below = [page for name in folders for page in sorted((root / name).rglob("*.md"))]
    return [*sorted(root.glob("*.md")), *below]


def broken(page: Path, root: Path = ROOT) -> list[str]:
    """Return a line for each link of a page whose file or anchor does not exist."""
    found = []
    for link in links(page.read_text(encoding="utf-8")):
        if ELSEWHERE.match(link.target):
            continue
        name, _, anchor = link.target.partition("#")
        file = (page.parent / unquote(name)).resolve() if name else page.resolve()
        where = f"{page.resolve().relative_to(root.resolve())}:{link.line}: {link.target}"
        if not file.is_relative_to(root.resolve()):
            found.append(f"{where}: outside of the project")
        elif not file.exists():
            found.append(f"{where}: no such file")
        elif anchor and anchor not in anchors(file):
            found.append(f"{where}: no such heading")
    return found


def links(text: str) -> Iterator[Link]:
    """Yield the links of a Markdown text; those in code are none."""
    for number, line in prose(text):
        for pattern in (LINK, IMAGE):
            found = pattern.finditer(without_code(line))
            yield from (Link(number, match[2]) for match in found)


def without_code(line: str) -> str:
    """Return a line with blanks in the place of code, so that columns stay as they are."""
    return CODE.sub(lambda code: " " * len(code[0]), line)


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of the lines outside of fenced blocks."""
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not fence and stripped.startswith("```"):
            fence = stripped[: len(stripped) - len(stripped.lstrip("`"))]
        elif fence:
            fence = "" if stripped == fence else fence
        else:
            yield number, line


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page: of its headings, as forges make them, and written ones."""
    found: set[str] = set()
    text = page.read_text(encoding="utf-8")
    for _, line in prose(text):
        found.update(EXPLICIT.findall(line))
        if heading := HEADING.fullmatch(line.rstrip()):
            slug, number = slugified(heading[1]), 0
            while (name := f"{slug}-{number}" if number else slug) in found:
                number += 1
            found.add(name)
    return frozenset(found)


def slugified(heading: str) -> str:
    """Return a heading's anchor: small letters, digits, `_` and `-`, a hyphen for each blank.

    >>> slugified("What the data speak for: `--strategy auto`")
    'what-the-data-speak-for---strategy-auto'
    """
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
