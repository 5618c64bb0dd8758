"""Build the site of docs/ with zensical: `make site`, which installs it, or

    python docs/build_site.py            # into build/site; a broken link or anchor fails
    python docs/build_site.py --pages    # only the pages that zensical is given, into build/pages

The pages stay plain Markdown with links that a forge follows. zensical takes a single folder, so
the pages are copied below build/pages: those of docs/ to its top, the others as OUTSIDE says. Links
are written anew for these places, and files that a page links to are copied with it. Code blocks
are left as they are.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "zensical.toml"
PAGES = ROOT / "build" / "pages"
STYLE = ROOT / "docs" / "style.css"

OUTSIDE = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmark-suites.md",
    "examples/edge/README.md": "howto/watch-a-folder.md",
}
"""Pages of the site that do not lie in docs/, and where they are in the site."""
FRONT = {"README.md": "index.md"}
"""The README is for a forge; links to it lead to the site's first page."""
COMMENT = re.compile(r"<!--.*-->")
"""What docs/check.py and the writers of generated pages read; readers of the site need none."""

_links = runpy.run_path(str(ROOT / "docs" / "links.py"))


def main(arguments: list[str]) -> int:
    """Copy the pages and build the site; return the exit status."""
    write_pages(PAGES)
    if "--pages" in arguments:
        return 0
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", str(CONFIG)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def sources() -> list[Path]:
    """Return the pages of the site, as they lie in the project."""
    return [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / name for name in OUTSIDE)]


def navigation() -> list[str]:
    """Return the pages that the navigation of zensical.toml names, in its order."""
    return list(_named(tomllib.loads(CONFIG.read_text(encoding="utf-8"))["project"]["nav"]))


def _named(entries: Any) -> Iterator[str]:
    """Yield the pages of a list of entries, each a page or a title with a page or a list."""
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from [value] if isinstance(value, str) else _named(value)


def place(source: Path) -> str:
    """Return where a file of the project is in the site: below its top, with `/`."""
    path = source.relative_to(ROOT).as_posix()
    if source.suffix == ".html":
        path += ".txt"  # an example is shown, not opened
    return (FRONT | OUTSIDE).get(path, path.removeprefix("docs/"))


def write_pages(folder: Path) -> None:
    """Write the pages and the files that they link to into a folder, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(STYLE, folder)
    for source in sources():
        text, linked = rewritten(source)
        page = folder / place(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
        for file in linked:
            copy = folder / place(file)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)


def rewritten(source: Path) -> tuple[str, list[Path]]:
    """Return a page with its links as they have to be in the site, and the files it links to."""
    text = source.read_text(encoding="utf-8")
    lines = text.splitlines()
    linked: list[Path] = []
    for number, line in _links["prose"](text):
        lines[number - 1] = COMMENT.sub("", _with_links(line, source, linked))
    return "\n".join(lines).lstrip("\n") + "\n", linked


def _with_links(line: str, source: Path, linked: list[Path]) -> str:
    """Return a line with its links replaced; the files they name are added to `linked`."""
    for pattern in (_links["LINK"], _links["IMAGE"]):
        # From the last one on, so that the places of those before it stay as they are.
        for match in reversed(list(pattern.finditer(_links["without_code"](line)))):
            text = titled(line[match.start(1) : match.end(1)], source, match[2])
            target = _target(match[2], source, linked)
            line = line[: match.start()] + text + target + line[match.end(2) :]
    return line


def titled(text: str, source: Path, target: str) -> str:
    """Return `[name.md](` with the title of that page: the site does not show names of files."""
    if not re.fullmatch(r"\[[\w/-]+\.md\]\(", text):
        return text
    page = (source.parent / unquote(target.partition("#")[0])).resolve()
    heading = next(
        line for line in page.read_text(encoding="utf-8").splitlines() if line[:2] == "# "
    )
    return f"[{heading.removeprefix('# ')}]("


def _target(target: str, source: Path, linked: list[Path]) -> str:
    """Return a link's target in the site."""
    name, sign, anchor = target.partition("#")
    if not name or _links["ELSEWHERE"].match(target):
        return target
    file = (source.parent / unquote(name)).resolve()
    if file.suffix != ".md":
        if not file.is_file():
            raise SystemExit(f"{source.relative_to(ROOT)}: {target}: no such file")
        linked.append(file)
    elif file not in sources() and place(file) not in FRONT.values():
        raise SystemExit(f"{source.relative_to(ROOT)}: {target}: no page of the site")
    start = PurePosixPath(place(source)).parent
    return Path(os.path.relpath(place(file), start)).as_posix() + sign + anchor


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
