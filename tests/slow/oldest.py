"""Run the tests with the oldest versions that pyproject.toml promises, or with the newest of all.

    make oldest                                    the quick tier; `make newest` likewise
    python tests/slow/oldest.py --all              the whole suite
    python tests/slow/oldest.py tests/runtime      chosen tests; what pytest takes goes along
    python tests/slow/oldest.py --torch 2.13.0     with another torch than the oldest
    python tests/slow/oldest.py --newest           the newest of everything but torch
    python tests/slow/oldest.py --newest --torch 2.14.1

A virtual environment is made in a temporary folder (`--environment` keeps it), with the packages of
the project and of its extras `cpu`, `train`, `tensorboard` and `ray`:

- oldest: each in the lowest version that its `>=` in pyproject.toml lets in;
- newest: each in the newest version of the package index, torch as pinned in constraints.txt.

The tools that only run the tests (pytest and others of the extra `dev`) come as pinned in
constraints.txt in both. PyPI's builds of torch for Linux are those with CUDA, so an older torch
downloads about 3.5 GB and takes 7 GB of disk; an index with CPU builds, named by
PIP_EXTRA_INDEX_URL, spares that. The exit status is pytest's.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EXTRAS = ("cpu", "train", "tensorboard", "ray")
QUICK = ("-m", "not slow and not environment")
REQUIREMENT = re.compile(r"([A-Za-z0-9_-]+)(?:\[[^]]*\])?>=([0-9.]+)")
PIN = re.compile(r"([A-Za-z0-9_-]+)==(\S+)")


def main() -> int:
    """Make the environment, run the tests in it and return pytest's exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--newest", action="store_true", help="The newest versions instead.")
    parser.add_argument("--all", action="store_true", help="The whole suite, not the quick tier.")
    parser.add_argument("--torch", metavar="VERSION", help="This torch and its torchvision.")
    parser.add_argument("--environment", type=Path, help="Folder in which it is made and kept.")
    given, words = parser.parse_known_args()
    versions = chosen_versions(newest=given.newest, torch=given.torch)
    with tempfile.TemporaryDirectory(prefix="rtl-versions-") as temporary:
        folder = given.environment or Path(temporary, "environment")
        python = prepared(folder, versions)
        subprocess.run([python, "-m", "pip", "list"], env=clean(), check=True)
        tests = words or ([] if given.all else list(QUICK))
        # An old package warns of what a newer one of another project deprecates.
        warnings = [] if given.newest else ["-W", "default"]
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *warnings, *tests]
        return subprocess.run(command, cwd=ROOT, env=clean(), check=False).returncode


def chosen_versions(*, newest: bool, torch: str | None) -> dict[str, str | None]:
    """Return the version of each package that the tests run with; None for the newest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions: dict[str, str | None] = dict(lowest_versions(project))
    pinned = pinned_versions((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    if newest:
        kept = {name: pinned[name] for name in ("torch", "torchvision")}
        versions = {**dict.fromkeys(versions), **kept}
    if torch:
        # torchvision 0.N+15.P is built for torch 2.N.P, and for no other.
        _, minor, patch = torch.split(".")
        versions |= {"torch": torch, "torchvision": f"0.{int(minor) + 15}.{patch}"}
    tools = {name: version for name, version in pinned.items() if name not in versions}
    return {**tools, **versions}


def lowest_versions(project: dict[str, object]) -> dict[str, str]:
    """Return the lowest version that each requirement lets in, of the table `project`.

    Raise ValueError for a requirement that does not begin with `>=`: nobody knows its lowest.
    """
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    requirements = [project["dependencies"], *(extras[name] for name in EXTRAS)]
    found = {}
    for requirement in itertools.chain.from_iterable(requirements):
        match = REQUIREMENT.fullmatch(requirement)
        if not match:
            raise ValueError(f"pyproject.toml: {requirement!r} names no lowest version by >=")
        found[match[1]] = match[2]
    return found


def pinned_versions(constraints: str) -> dict[str, str]:
    """Return the versions that a constraints file pins."""
    return {match[1]: match[2] for match in map(PIN.match, constraints.splitlines()) if match}


def prepared(folder: Path, versions: dict[str, str | None]) -> Path:
    """Make an environment with these versions and the project; return its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    constraints = folder / "versions.txt"
    lines = [f"{name}=={version}" for name, version in versions.items() if version]
    constraints.write_text("\n".join(lines) + "\n", encoding="utf-8")
    what = f"{ROOT}[{','.join((*EXTRAS, 'dev'))}]"
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-cache-dir", "--upgrade"]
    # In place of a machine-wide constraints file, which may cap what is asked for here.
    environment = {**clean(), "PIP_CONSTRAINT": str(constraints)}
    # --upgrade with `eager` takes the newest of what is not constrained, dependencies too.
    eager = ["--upgrade-strategy", "eager", "-e", what]
    subprocess.run([*command, *eager], env=environment, check=True)
    return python


def clean() -> dict[str, str]:
    """Return this process's variables without those that name another Python's packages."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


if __name__ == "__main__":
    sys.exit(main())
