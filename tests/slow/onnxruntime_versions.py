"""Verify model files in several versions of onnxruntime, each in an environment of its own.

    python tests/slow/onnxruntime_versions.py runs/photos/export/model.onnx
    python tests/slow/onnxruntime_versions.py *.onnx --versions 1.15.1 1.18.1 1.31.1

Each version gets a virtual environment as on a device: the wheel of this source tree and that
onnxruntime, no torch. In it `rtl verify` checks a copy of each model file whose only companion is
its file of reference outputs, as after an upgrade of the runtime on a device. The table has the
verdict and the largest difference of a logit, from the card (relative) and from the references.

rtl itself requires onnxruntime 1.18 (the extras `cpu` and `gpu` in pyproject.toml). Older versions
are tested too, because an app may run a model file with one of them: rtl's own dependencies do not
name onnxruntime, so the wheel is installed without an extra. Before 1.19 onnxruntime was built for
NumPy 1, so `numpy<2` is installed with it. The oldest version on PyPI for Python 3.11 is 1.15.0.

The exit status is 1 where a file failed in a version that it should pass in (by its card's
`lowest_onnxruntime`). An environment takes about 20 s to create and 200 MB; `--environments` keeps
them for the next time.
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
    """The result of one file in one version of onnxruntime."""

    verdict: str
    from_card: str = ""
    from_references: str = ""
    reason: str = ""
    """Why the file could not be opened."""


def main() -> int:
    """Verify each model in each version and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--versions", nargs="+", default=VERSIONS, metavar="VERSION")
    parser.add_argument(
        "--environments", type=Path, help="Folder in which the environments are kept."
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rtl-onnxruntime-") as temporary:
        folder = arguments.environments or Path(temporary)
        wheel = build_wheel(Path(temporary))
        width = max(len(model.name) for model in arguments.models)
        headings = (f"{'model':{width}}", f"{'verdict':8}", f"{'from card':>9}", "from references")
        print(f"{'onnxruntime':11}", *headings, sep="  ")
        unexpected = 0
        for version in arguments.versions:
            environment = prepared(folder / version, version, wheel)
            for model in arguments.models:
                found = verified(environment, model)
                unexpected += not expected(found, version, inspect_model(model).card)
                row = (f"{model.name:{width}}", f"{found.verdict:8}", f"{found.from_card:>9}")
                last = found.reason or found.from_references
                print(f"{version:11}", *row, last, sep="  ", flush=True)
    return 1 if unexpected else 0


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this source tree and return its path."""
    command = ("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    run(sys.executable, "-m", *command)
    [wheel] = folder.glob("rtl_toolchain-*.whl")
    return wheel


def prepared(environment: Path, version: str, wheel: Path) -> Path:
    """Create an environment where there is none, and install onnxruntime and this rtl in it."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    numpy = ["numpy<2"] if numbers(version) < FIRST_FOR_NUMPY_2 else []
    run(python, "-m", "pip", "install", "--quiet", f"onnxruntime=={version}", *numpy, wheel)
    # The wheel has the same version after a change of the source, so pip would not reinstall it.
    run(python, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel)
    return environment


def verified(environment: Path, model: Path) -> Outcome:
    """Return the result of `rtl verify` for a copy of a model file and its references."""
    with tempfile.TemporaryDirectory(prefix="rtl-lone-") as folder:
        for path in (model, model.with_name(f"{model.name}.references.npz")):
            if path.is_file():
                shutil.copy(path, folder)
        program = environment / "bin" / "rtl"
        done = subprocess.run(
            [program, "verify", model.name, "--json", "--quiet"],
            cwd=folder,
            env=own_environment(),
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
    """Return whether a file passed, or the version is too old for it."""
    if found.verdict == "passed":
        return True
    lowest = card.lowest_onnxruntime
    return lowest is not None and numbers(version) < numbers(lowest)


def figure(figures: dict[str, float] | None, name: str) -> str:
    """Return a difference as text; a dash where there is none."""
    return "–" if figures is None or name not in figures else f"{figures[name]:.1e}"


def numbers(version: str) -> tuple[int, ...]:
    """Return a version such as 1.15.1 as (1, 15, 1)."""
    return tuple(int(part) for part in version.split("."))


def own_environment() -> dict[str, str]:
    """Return the environment variables without those that change Python's import path."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def run(*command: object) -> None:
    """Run a command; where it fails, exit with its output."""
    done = subprocess.run(
        [str(word) for word in command],
        env=own_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in command)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
