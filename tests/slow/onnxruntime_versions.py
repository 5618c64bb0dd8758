"""Verify model files in several versions of onnxruntime, each in an environment of its own.

    python tests/slow/onnxruntime_versions.py runs/photos/export/model.onnx
    python tests/slow/onnxruntime_versions.py *.onnx --versions 1.15.1 1.18.1 1.31.1

For each version a virtual environment is made with what a device gets: the wheel of this source
tree and that onnxruntime, no torch. In it `rtl verify` looks at a copy of each model file that lies
alone with its reference outputs, as after an upgrade of the runtime on a device. Printed is a table
with the verdict and the largest difference of a logit, from the card (relative) and from the
references.

rtl itself asks for onnxruntime 1.18 (the extras `cpu` and `gpu` in pyproject.toml). Older ones are
tried all the same, because a model file may serve an app that embeds an older one: rtl's own
dependencies do not name onnxruntime, so the wheel is installed without an extra, beside the version
that is asked for. Before 1.19 onnxruntime was built for NumPy 1, so `numpy<2` goes with it. The
oldest that PyPI has for Python 3.11 is 1.15.0.

The exit status is 1 where a file that should pass in a version (by its card's
`lowest_onnxruntime`) did not. An environment takes about 20 s to make and 200 MB; `--environments`
keeps them for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

from toolchain.runtime.card import Card
from toolchain.verification.inspection import inspect_model

ROOT = Path(__file__).resolve().parent.parent.parent
VERSIONS = ("1.15.1", "1.20.1", "1.31.1")
FIRST_FOR_NUMPY_2 = (1, 19)


@dataclass(frozen=True)
class Outcome:
    """What one version of onnxruntime made of one file."""

    verdict: str
    from_card: str = ""
    from_references: str = ""
    reason: str = ""
    """Why it could not be opened."""


def main() -> int:
    """Verify each model in each version and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--versions", nargs="+", default=VERSIONS, metavar="VERSION")
    parser.add_argument("--environments", type=Path, help="Folder in which they are kept.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rtl-onnxruntime-") as temporary:
        folder = given.environments or Path(temporary)
        wheel = build_wheel(Path(temporary))
        width = max(len(model.name) for model in given.models)
        heads = (f"{'model':{width}}", f"{'verdict':8}", f"{'from card':>9}", "from references")
        print(f"{'onnxruntime':11}", *heads, sep="  ")
        surprises = 0
        for version in given.versions:
            environment = prepared(folder / version, version, wheel)
            for model in given.models:
                found = verified(environment, model)
                surprises += not expected(found, version, inspect_model(model).card)
                row = (f"{model.name:{width}}", f"{found.verdict:8}", f"{found.from_card:>9}")
                last = found.reason or found.from_references
                print(f"{version:11}", *row, last, sep="  ", flush=True)
    return 1 if surprises else 0


def build_wheel(folder: Path) -> Path:
    """Build this source tree's wheel."""
    command = ("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    run(sys.executable, "-m", *command)
    [wheel] = folder.glob("rtl_toolchain-*.whl")
    return wheel


def prepared(environment: Path, version: str, wheel: Path) -> Path:
    """Make an environment with an onnxruntime, where it isn't there, and put this rtl in."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    numpy = ["numpy<2"] if numbers(version) < FIRST_FOR_NUMPY_2 else []
    run(python, "-m", "pip", "install", "--quiet", f"onnxruntime=={version}", *numpy, wheel)
    # The version of the wheel does not change with each change of the source.
    run(python, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel)
    return environment


def verified(environment: Path, model: Path) -> Outcome:
    """Run `rtl verify` on a copy of a model file that lies alone with its references."""
    with tempfile.TemporaryDirectory(prefix="rtl-lone-") as folder:
        for path in (model, model.with_name(f"{model.name}.references.npz")):
            if path.is_file():
                shutil.copy(path, folder)
        program = environment / "bin" / "rtl"
        done = subprocess.run(
            [program, "verify", model.name, "--json", "--quiet"],
            cwd=folder,
            env=clean(),
            capture_output=True,
            text=True,
            check=False,
        )
    if not done.stdout:
        first = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0]
        return Outcome("refused", reason=first.partition("can't be opened: ")[2] or first)
    result = json.loads(done.stdout)
    figures = {(level["level"], level["against"]): level["figures"] for level in result["levels"]}
    return Outcome(
        verdict="passed" if result["passed"] else "FAILED",
        from_card=figure(figures.get(("numbers", "card")), "relative_difference"),
        from_references=figure(figures.get(("numbers", "references")), "max_difference"),
    )


def expected(found: Outcome, version: str, card: Card) -> bool:
    """Say whether a file passed, or is in a version that is too old for it."""
    if found.verdict == "passed":
        return True
    lowest = card.lowest_onnxruntime
    return lowest is not None and numbers(version) < numbers(lowest)


def figure(figures: dict[str, float] | None, name: str) -> str:
    """Write a difference, or why there is none."""
    return "–" if figures is None or name not in figures else f"{figures[name]:.1e}"


def numbers(version: str) -> tuple[int, ...]:
    """Return 1.15.1 as numbers."""
    return tuple(int(part) for part in version.split("."))


def clean() -> dict[str, str]:
    """Return this process's variables without those that name another Python's packages."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def run(*words: object) -> None:
    """Run a command; where it fails, end with what it said."""
    done = subprocess.run(
        [str(word) for word in words], env=clean(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in words)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
