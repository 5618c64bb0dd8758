"""What all parts are given, what they report, and where they leave what later parts need.

The standard library alone is imported here: the process that starts the parts must run where
packages are missing, so that it can say which.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""One line of a part's result: times in `_ms` or `_s`, rates in 0…1."""
Rows = Iterator[Row]


class CannotRunError(Exception):
    """A part can't run here; the message says what is missing."""


class PartFailedError(Exception):
    """A part ran to its end, and what it found is a failure."""


@dataclass(frozen=True)
class Job:
    """Device, sizes and folders of one run of the script."""

    device: str
    """cuda or cpu: torch's device, and rtl's name of onnxruntime's provider."""
    folder: str
    """Where the parts write: images, runs, model files, logs."""
    data: str
    """Images to train on; they are drawn where this is empty."""
    weights: str
    """Where training starts: a weights file, or none."""
    arch: str
    size: int
    """Side of the network's input, in pixels."""
    per_class: tuple[int, int]
    """Training and validation images that are drawn of each of six classes. All are whole batches:
    torch.compile would compile once more for a smaller one."""
    epochs: int
    batch_size: int
    workers: int
    """Processes that read images in training; -1 means one for each core."""
    batch_sizes: tuple[int, ...]
    """Images of a call whose time is measured."""
    seconds: float
    """Time for which each call is measured."""
    images: int
    """Validation images that exported files are compared on."""

    @property
    def images_folder(self) -> Path:
        """The images that are trained on."""
        return Path(self.data) if self.data else Path(self.folder) / "parts"

    def run(self, case: str) -> Path:
        """Return the run folder of a training."""
        return Path(self.folder) / "runs" / case.replace(" ", "-")

    def finished_run(self) -> Path:
        """Return the run folder that is exported; CannotRunError where that training has failed."""
        run = self.run("fp32")
        if not (run / "model.safetensors").is_file():
            raise CannotRunError("`finetune fp32` left no trained network")
        return run

    def model(self, precision: str) -> Path:
        """Return the model file that was exported in a precision, fp32 or fp16."""
        suffix = "" if precision == "fp32" else f".{precision}"
        return self.run("fp32") / "export" / f"model{suffix}.onnx"

    def refused_model(self, precision: str) -> Path:
        """Return the file of a precision that export refused, which is timed all the same."""
        return Path(self.folder) / "refused" / f"model.{precision}.onnx"

    def write(self, path: Path) -> None:
        """Write the job for the processes of the parts."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def read_job(path: Path) -> Job:
    """Return the job that `Job.write` has written."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    tuples = {name: tuple(fields[name]) for name in ("per_class", "batch_sizes")}
    return Job(**{**fields, **tuples})


def job_for(
    device: str, folder: Path, *, data: Path | None = None, weights: Path | None = None
) -> Job:
    """Return the job of a device: ResNet-50 at 224 pixels on a GPU, a tiny one on a processor."""
    given: dict[str, Any] = {
        "device": device,
        "folder": str(folder),
        "data": str(data.resolve()) if data else "",
        "weights": str(weights.resolve()) if weights else "none",
    }
    if device == "cuda":
        sizes: dict[str, Any] = {
            "size": 224,
            "per_class": (224, 64),
            "epochs": 5,
            "batch_size": 64,
            "workers": -1,
            "batch_sizes": (1, 8, 32, 128),
            "seconds": 1.0,
            "images": 200,
        }
    else:
        sizes = {
            "size": 32,
            "per_class": (16, 8),
            "epochs": 2,
            "batch_size": 16,
            "workers": 0,
            "batch_sizes": (1, 8),
            "seconds": 0.2,
            "images": 6,
        }
    from_scratch = "resnet50" if device == "cuda" else "resnet18"
    return Job(**given, **sizes, arch="auto" if weights else from_scratch)
