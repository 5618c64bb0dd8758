"""Installs wheels that were handed over into a folder of their own, without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


class WheelsError(Exception):
    """The wheels can't be installed; the message says why."""


def install_wheels(folder: Path, site: Path) -> list[str]:
    """Install every wheel of a folder into `site` and return their names.

    What they depend on is not looked for: it has to be installed or to lie in the folder too.
    Raises WheelsError.
    """
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        raise WheelsError(f"{folder} holds no wheel (*.whl)")
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-compile"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(site)]
    done = subprocess.run([*command, *map(str, wheels)], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise WheelsError(f"pip can't install the wheels: {lines[-1] if lines else 'no reason'}")
    return [wheel.name for wheel in wheels]
