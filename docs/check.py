"""Run every command that README.md, docs/ and examples/ show, as a reader would type them.

    make docs-check
    python docs/check.py README.md docs/predict.md

Commands are the lines that begin with `$ ` in blocks fenced as ```console. A command goes on over
lines that end with a backslash and over lines that begin with `> `. The commands of a file run in
their order in one temporary folder, which holds copies of configs/ and examples/ and has the shared
folder (RTL_SHARED) at ../shared; the folder one has changed into and exported variables hold from
command to command. A file stops at its first failure.

A comment above a block says what differs; several of these are separated by semicolons:

    <!-- docs-check: skip because it installs packages -->
    <!-- docs-check: exit 6 -->      the status that the last command of the block ends with
    <!-- docs-check: photos is ../shared/data/food3 -->              a name that stands for this
    <!-- docs-check: photos is 20 a class of ../shared/data/food3/train -->     or for some of it
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RTL_SHARED", ROOT.parent / "shared")).resolve()
COPIED = ("configs", "examples")

COMMENT = re.compile(r"<!--\s*docs-check:\s*(.*?)\s*-->")
SKIP = re.compile(r"skip because (.+)")
EXIT = re.compile(r"exit (\d+)")
STANDS_FOR = re.compile(r"([\w.-]+) is (?:(\d+) a class of )?(\.\./shared/\S+)")

# Where one command left the shell is where the next one begins.
RUN = """
source "$DOCS_CHECK/variables"; cd "$(cat "$DOCS_CHECK/folder")"
trap 'pwd > "$DOCS_CHECK/folder"; export -p > "$DOCS_CHECK/variables"' EXIT
"""


@dataclass
class Block:
    """The commands of one fenced block."""

    line: int
    commands: list[str] = field(default_factory=list)
    skip: str = ""
    """Why it is not run; empty where it is."""
    status: int = 0
    """What the last command ends with; those before it end with 0."""
    stand_ins: list[StandIn] = field(default_factory=list)
    """What is put into the folder before the commands are run."""


@dataclass(frozen=True)
class StandIn:
    """A name of a page, such as `photos`, and what it stands for while its commands are run."""

    name: str
    source: str
    """Begins with ../shared/."""
    per_class: int | None
    """Take so many files of each folder in `source`; None takes all."""


def main(arguments: list[str]) -> int:
    """Check the files given, by default all, and return the exit status."""
    failed = [path for path in map(Path, arguments or documents()) if not check(path)]
    for path in failed:
        print(f"failed: {shown(path)}")
    return 1 if failed else 0


def documents(root: Path = ROOT) -> list[Path]:
    """Return the files whose commands are run."""
    pages = [path for name in ("docs", "examples") for path in sorted((root / name).rglob("*.md"))]
    return [root / "README.md", *pages]


def blocks(text: str) -> list[Block]:
    """Find the console blocks of a Markdown text."""
    found: list[Block] = []
    block: Block | None = None
    comment, fence, in_command = "", "", False
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not fence and stripped.startswith("```"):
            fence = stripped[: len(stripped) - len(stripped.lstrip("`"))]
            if stripped.removeprefix(fence) == "console":
                block = Block(number)
                apply_comment(block, comment)
                found.append(block)
        elif fence and stripped == fence:
            fence, block, in_command, comment = "", None, False, ""
        elif block is not None:
            in_command = add_line(block, stripped, in_command)
        elif not fence and stripped:
            comments = COMMENT.findall(stripped)
            comment = comments[0] if comments else ""
    return found


def add_line(block: Block, line: str, in_command: bool) -> bool:
    """Add a line of a block; return whether it belongs to a command, as the one above may have."""
    if line.startswith("$ "):
        block.commands.append(line.removeprefix("$ "))
        return True
    second_prompt = line == ">" or line.startswith("> ")
    if in_command and (second_prompt or block.commands[-1].endswith("\\")):
        block.commands[-1] += "\n" + (line[2:] if second_prompt else line)
        return True
    return False  # what the command printed


def apply_comment(block: Block, comment: str) -> None:
    """Apply the comment above a block to it; raise ValueError for one that is not understood."""
    if skip := SKIP.fullmatch(comment):
        block.skip = skip[1]
        return
    for part in filter(None, comment.split("; ")):
        if status := EXIT.fullmatch(part):
            block.status = int(status[1])
        elif found := STANDS_FOR.fullmatch(part):
            block.stand_ins.append(StandIn(found[1], found[3], int(found[2]) if found[2] else None))
        else:
            raise ValueError(
                f"line {block.line}: 'docs-check: {part}' is neither 'skip because …', 'exit N' "
                "nor 'NAME is ../shared/…'"
            )


def check(path: Path) -> bool:
    """Run the commands of a file; return whether all of them ended as they should."""
    try:
        found = blocks(path.read_text(encoding="utf-8"))
    except ValueError as error:
        print(f"{shown(path)}: {error}")
        return False
    if not found:
        return True
    print(shown(path))
    with tempfile.TemporaryDirectory(prefix="docs-check-") as folder:
        environment = prepare(Path(folder))
        for block, command, status, skip in steps(found):
            if skip:
                print(f"     skip  {one_line(command)}  ({skip})", flush=True)
                continue
            for stand_in in block.stand_ins:
                put(stand_in, Path(folder) / "work")
            if not run(command, status, environment):
                return False
    return True


def steps(found: list[Block]) -> Iterator[tuple[Block, str, int, str]]:
    """Yield (block, command, status it should end with, why it is skipped) in their order."""
    without_shared = ""
    for block in found:
        for number, command in enumerate(block.commands, start=1):
            needs_shared = "../shared" in command or bool(block.stand_ins)
            if not without_shared and needs_shared and not SHARED.is_dir():
                without_shared = f"no folder {SHARED}; set RTL_SHARED"
                yield block, command, 0, block.skip or without_shared
                # What follows may read what this command would have made.
                without_shared = "comes after a command that needs ../shared"
                continue
            status = block.status if number == len(block.commands) else 0
            yield block, command, status, block.skip or without_shared


def put(stand_in: StandIn, folder: Path) -> None:
    """Put what a name stands for into the folder of the commands, unless it is there."""
    place = folder / stand_in.name
    source = SHARED / stand_in.source.removeprefix("../shared/")
    if place.exists():
        return
    if stand_in.per_class is None:
        place.symlink_to(source)
        return
    for of_class in (path for path in sorted(source.iterdir()) if path.is_dir()):
        (place / of_class.name).mkdir(parents=True)
        for file in sorted(of_class.iterdir())[: stand_in.per_class]:
            shutil.copy(file, place / of_class.name)


def prepare(folder: Path) -> dict[str, str]:
    """Make the folder that commands run in; return their environment variables."""
    work, state = folder / "work", folder / "state"
    work.mkdir()
    state.mkdir()
    (folder / "shared").symlink_to(SHARED)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, work / name)
    (state / "folder").write_text(str(work))
    (state / "variables").touch()
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RTL_SHARED": str(SHARED),
        "DOCS_CHECK": str(state),
    }


def run(command: str, status: int, environment: dict[str, str]) -> bool:
    """Run one command and print a line about it; where it failed, its output too."""
    started = time.monotonic()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", RUN + command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    good = done.returncode == status
    seconds = time.monotonic() - started
    print(f"{seconds:7.1f} s  {one_line(command) if good else command}", flush=True)
    if not good:
        print(f"exit status {done.returncode}, expected {status}; it printed:\n{done.stdout}")
    return good


def one_line(command: str) -> str:
    """Return a command's first line."""
    first, _, rest = command.partition("\n")
    return f"{first} …" if rest else first


def shown(path: Path) -> str:
    """Return a path as seen from the project."""
    path = path.resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
