"""A fresh environment with what a device gets: the wheel and the extra `cpu`, and no torch.

It is made by the lines of the Dockerfile's stages `build` and `runtime`, so what the tests prove
of it holds for the image too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.made_once import made_once

ROOT = Path(__file__).resolve().parent.parent

Stage = list[tuple[str, str]]
"""The instructions of a stage: (word, what follows it)."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and the wheel that was installed into it."""

    folder: Path
    wheel: Path

    def run(self, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, which sees nothing of the one that tests run in."""
        program, *arguments = (str(word) for word in words)
        return subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=inside(self.folder),
            timeout=300,
            check=False,
        )


def inside(environment: Path) -> dict[str, str]:
    """Return the variables of a shell in which an environment is active."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return {
        **variables,
        "VIRTUAL_ENV": str(environment),
        "PATH": f"{environment}/bin:{variables['PATH']}",
    }


def stages(dockerfile: str) -> dict[str, Stage]:
    """Read a Dockerfile: the instructions of each stage, by its name."""
    found: dict[str, Stage] = {}
    text = re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE).replace("\\\n", " ")
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stage = found.setdefault(rest.partition(" AS ")[2], [])
        if word:
            stage.append((word, rest))
    return found


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What the image holds, as an environment of this machine; made once, in about 20 s."""
    folder = made_once(tmp_path_factory, "device", install_device)
    [wheel] = (folder / "build" / "wheels").glob("*.whl")
    return Environment(folder / "venv", wheel)


def install_device(folder: Path) -> None:
    """Do in a folder what the Dockerfile does on the way to its stage `runtime`."""
    context, environment = folder / "build", folder / "venv"
    context.mkdir(parents=True)
    venv.create(environment, with_pip=True)
    stage = stages((ROOT / "Dockerfile").read_text())
    for word, rest in (*stage["build"], *stage["base"], *stage["runtime"]):
        if word == "COPY" and not rest.startswith("--from"):
            copy(rest.split()[:-1], context)
        elif word == "RUN" and "pip " in rest:
            install(rest, context, environment)


def copy(names: list[str], context: Path) -> None:
    """Do what COPY does with files and folders of the project."""
    for name in names:
        if (ROOT / name).is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, context / name, ignore=skip)
        else:
            shutil.copy(ROOT / name, context)


def install(line: str, context: Path, environment: Path) -> None:
    """Run a line of the Dockerfile with the pip of an environment."""
    done = subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        cwd=context,
        env=inside(environment),
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
