"""What all measurements of one call have: the material, the environment, when and where it was."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peers import environment
from benchmarks.peers.environment import Finished
from benchmarks.peers.material import Material
from benchmarks.peers.rows import Row, append_row
from toolchain.machine import this_machine

SHOWN_VERSIONS = (
    "torch",
    "torchvision",
    "onnxruntime",
    "onnxruntime-ep-openvino",
    "rtl-toolchain",
    "fastai",
    "ultralytics",
    "transformers",
    "accelerate",
    "optimum-onnx",
    "timm",
    "openvino",
    "numpy",
    "pillow",
)


def now() -> str:
    """Return the time in UTC, as rows have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Session:
    """One call of the script."""

    material: Material
    folder: Path
    """The peers' environment."""
    store: Path
    versions: dict[str, str]
    run: str = field(default_factory=now)
    """Marks the rows that were measured in turn with each other."""
    machine: str = field(default_factory=lambda: str(this_machine()))

    def process(
        self, command: list[str], *, source_tree: bool = False, limit_s: float = 1800
    ) -> Finished:
        """Run a command of the environment in the scratch folder; see environment.run."""
        scratch = self.material.scratch
        return environment.run(
            self.folder, command, scratch, source_tree=source_tree, limit_s=limit_s
        )

    def require(self, packages: tuple[str, ...]) -> None:
        """Raise CanNotRunError where the environment lacks rtl, torch or one of these packages."""
        environment.require(self.folder, ("torch", "rtl-toolchain", *packages), self.versions)

    def row(self, subject: str, who: str, **values: Any) -> Row:
        """Return a row without figures. `load` is the machine's load average at this moment."""
        shown = {name: self.versions[name] for name in SHOWN_VERSIONS if name in self.versions}
        return {
            "subject": subject,
            "who": who,
            **values,
            "run": self.run,
            "date": now(),
            "machine": self.machine,
            "versions": shown,
            "load": round(os.getloadavg()[0], 1),
        }

    def append(self, row: Row) -> None:
        """Append a row to the store."""
        append_row(row, self.store)
