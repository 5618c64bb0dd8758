"""What a device needs: the size of an environment with the extra `cpu`, and the time of imports.

    python -m benchmarks.thin_environment

Builds a wheel of this source tree and installs it into a fresh environment (about a minute, 200 MB
in the system's temporary folder), then prints two tables: the installed size of each package, and
the median time of whole processes that import rtl or label an image, measured in turn. The first
round, which compiles the modules and fills the model cache, is not counted. The model is exported
by this environment, which needs torch.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from benchmarks.test_coldstart import PROCESSES, model_and_image
from toolchain.machine import this_machine

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 15
STATEMENTS = {
    "nothing": "pass",
    "`import toolchain`": "import toolchain",
    "`import numpy, PIL.Image, onnxruntime`": "import numpy, PIL.Image, onnxruntime",
    "`from toolchain import Predictor`": "from toolchain import Predictor",
    "`from toolchain import Predictor`, and onnxruntime": (
        "from toolchain import Predictor; import onnxruntime"
    ),
    "`Predictor(MODEL)(IMAGE)`, ResNet-18, from the model cache": PROCESSES["predictor"],
}
# Printed by the environment's own Python: bytes of each distribution's files, as it records them.
SIZES = """
import importlib.metadata as metadata, json
def size(found):
    files = [found.locate_file(f) for f in found.files or []]
    return sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc")
print(json.dumps({d.name: [d.version, size(d)] for d in metadata.distributions()}))
"""


def main() -> None:
    """Make the environment, measure it and print the tables."""
    with tempfile.TemporaryDirectory(prefix="rtl-thin-") as folder:
        wheel = built(Path(folder))
        python = installed(wheel, Path(folder, "environment"))
        sizes: dict[str, tuple[str, int]] = json.loads(printed(python, SIZES))
        print(f"{this_machine()}, {date.today():%Y-%m-%d}.\n")
        print_sizes(wheel, sizes)
        os.environ.pop("RTL_CACHE_DIR", None)
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        print_times(python, model_and_image(Path(folder)))


def built(folder: Path) -> Path:
    """Build a wheel of this source tree and return its path."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet"]
    subprocess.run([*command, "-w", folder, ROOT], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def installed(wheel: Path, environment: Path) -> Path:
    """Make an environment with the wheel and the extra `cpu`, and return its Python."""
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    options = ["--quiet", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([python, "-m", "pip", "install", *options, f"{wheel}[cpu]"], check=True)
    return python


def printed(python: Path, code: str, arguments: Sequence[str] = ()) -> str:
    """Run code in the environment, outside of the source tree, and return what it prints."""
    variables = {name: value for name, value in os.environ.items() if name[:6] != "PYTHON"}
    command = [str(python), "-c", code, *arguments]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd="/", env=variables
    )
    return done.stdout


def print_sizes(wheel: Path, sizes: dict[str, tuple[str, int]]) -> None:
    """Print the size of each package, the largest first, but for pip, which only installs."""
    rows = sorted(sizes.items(), key=lambda item: -item[1][1])
    needed = [(name, *rest) for name, rest in rows if name not in ("pip", "setuptools")]
    print(f"The wheel takes {wheel.stat().st_size / 1000:.0f} kB.\n")
    print("| package | version | MB on disk |\n|---|---|---|")
    for name, version, size in needed:
        print(f"| {name} | {version} | {size / 1e6:.1f} |")
    print(f"| all | | {sum(size for *_, size in needed) / 1e6:.0f} |\n")


def print_times(python: Path, arguments: Sequence[str]) -> None:
    """Print median times, and the median ratio to the bare imports of the same round."""
    found: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for number in range(ROUNDS + 1):
        for name, code in STATEMENTS.items():
            started = time.perf_counter()
            printed(python, code, arguments)
            if number:
                found[name].append(time.perf_counter() - started)
    bare = found["`import numpy, PIL.Image, onnxruntime`"]
    print("| process | median | beside the three imports |\n|---|---|---|")
    for name, times in found.items():
        ratio = statistics.median(a / b for a, b in zip(times, bare, strict=True))
        print(f"| {name} | {1000 * statistics.median(times):.0f} ms | {ratio:.2f} |")


if __name__ == "__main__":
    main()
