"""The environment of the peers, made from PyPI, and processes that run in it.

rtl is installed into the same environment from this source tree, so that all use the same torch.
Nothing but pip may use the network: the variables below say so to the tools that would.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
REASONS = "could-not-be-had.json"
"""A file in the environment: package → the last line of pip, where it could not be installed."""
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "ORT_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}
VERSIONS = """
import importlib.metadata as metadata, json
print(json.dumps({d.name.lower().replace("_", "-"): d.version for d in metadata.distributions()}))
"""


@dataclass(frozen=True)
class Finished:
    """A process that ended well: its seconds, from its start to its end, and what it printed."""

    seconds: float
    processor_seconds: float
    """Of all cores, with the processes that it started: what other programs disturb least."""
    output: str


class CanNotRunError(Exception):
    """A tool that is not installed, or whose process failed; the message is the reason."""


def make(folder: Path) -> None:
    """Make the environment, or bring it up to date with this source tree and requirements.txt.

    All packages are resolved together; where that fails, rtl is installed and each other one that
    can be, with what pip said of the rest in a file.
    """
    if not python_of(folder).is_file():
        venv.create(folder, with_pip=True)
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    rtl = f"{ROOT}[cpu,train]"
    reasons: dict[str, str] = {}
    if _pip(folder, [*wanted, rtl]) is not None:
        pins = ["-c", str(REQUIREMENTS)]
        for package in (rtl, *wanted):
            reason = _pip(folder, [*pins, package])
            if reason is not None:
                reasons[package.split("==")[0]] = reason
    _pip(folder, ["--no-deps", "--force-reinstall", rtl])  # the tree may have changed
    (folder / REASONS).write_text(json.dumps(reasons, indent=1), encoding="utf-8")


def _pip(folder: Path, arguments: list[str]) -> str | None:
    """Install, and return why that failed, or None."""
    command = [str(python_of(folder)), "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode == 0 else _reason(done.stderr)


def python_of(folder: Path) -> Path:
    """Return the path of an environment's Python."""
    return folder / "bin" / "python"


def installed(folder: Path) -> dict[str, str]:
    """Return package → version of an environment; empty where there is none."""
    if not python_of(folder).is_file():
        return {}
    command = [str(python_of(folder)), "-I", "-c", VERSIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def require(folder: Path, packages: tuple[str, ...], versions: dict[str, str]) -> None:
    """Raise CanNotRunError where the environment lacks one of these packages, with the reason."""
    if not versions:
        raise CanNotRunError(
            f"no environment: python -m benchmarks.peers environments --environments {folder}"
        )
    for package in packages:
        if package not in versions:
            file = folder / REASONS
            reasons = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            raise CanNotRunError(f"{package}: {reasons.get(package, 'not installed')}")


def run(
    folder: Path, command: list[str], scratch: Path, *, source_tree: bool, limit_s: float = 1800
) -> Finished:
    """Run a command of the environment in `scratch` and time the whole process.

    A command that begins with `python` or the name of a script is looked up in the environment.
    With `source_tree` the modules of this repository can be imported. Raises CanNotRunError with
    what it wrote where it fails, or when it takes longer than `limit_s`.
    """
    started, before = time.time(), _processor_seconds()
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "RTL_"))}
    variables |= OFFLINE | {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(folder),
        "HF_HOME": str(scratch / "huggingface"),
        "YOLO_CONFIG_DIR": str(scratch / "ultralytics"),
        "TORCH_HOME": str(scratch / "torch"),
        "XDG_CACHE_HOME": str(scratch / "cache"),
        "MPLBACKEND": "agg",
        "PEERS_STARTED": repr(started),
    }
    if source_tree:
        variables["PYTHONPATH"] = str(ROOT)
    words = [str(folder / "bin" / command[0]), *command[1:]]
    try:
        done = subprocess.run(
            words, cwd=scratch, env=variables, capture_output=True, text=True, timeout=limit_s
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise CanNotRunError(str(error)) from error
    seconds = time.time() - started
    if done.returncode != 0:
        (scratch / "failed.log").write_text(f"{words}\n{done.stdout}\n{done.stderr}")
        reason = _reason(done.stderr) or _reason(done.stdout)
        raise CanNotRunError(f"exit status {done.returncode}: {reason}")
    return Finished(seconds, _processor_seconds() - before, done.stdout)


def _processor_seconds() -> float:
    """Return what the processes that this one started and that ended have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reason(text: str) -> str:
    """Return the last line of a text that begins with `error:`, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error:")]
    return [*lines, *errors][-1][:300] if lines else ""
