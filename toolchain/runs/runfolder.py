"""The only file that knows the names of the files in a run folder and beside a model file."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
from pathlib import Path

from toolchain.errors import DataError, TrainingError
from toolchain.files import current_umask, write_text
from toolchain.runtime.card import Card, decode_card, encode_card

SUFFIXES = {"onnx": ".onnx", "torchscript": ".torchscript.pt", "pt2": ".pt2"}


REMOVED_CHECKPOINTS = ".checkpoints.removed"
"""What checkpoints are called while they are removed."""


class RunFolder:
    """A folder that training leaves: plain files, readable by a person, movable as one."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.settings = self.path / "settings.toml"
        self.metrics = self.path / "metrics.jsonl"
        self.weights = self.path / "model.safetensors"
        self.card = self.path / "card.json"
        self.audit = self.path / "audit.json"
        self.curves = self.path / "curves.png"
        self.confusion = self.path / "confusion.png"
        self.evaluation = self.path / "evaluation.json"
        self.export = self.path / "export"
        self.bench = self.path / "bench"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.rate_sweep = self.path / "lr-find.json"
        self.rate_picture = self.path / "lr-find.png"

    def require_free(self) -> None:
        """Raise TrainingError where something already stands: a run is never written over."""
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise TrainingError(
                f"{self.path} exists and is not empty; a run is never written over",
                hint=f"choose another folder with -o, or remove {self.path}",
            )

    def create(self, settings: str) -> None:
        """Make the folder with its settings in it, in one step; TrainingError where it is taken.

        A run that is killed at once can then be resumed: there is no folder without settings.
        """
        self.require_free()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        except OSError as error:
            raise TrainingError(f"{self.path} can't be made: {error.strerror}") from error
        try:
            made.chmod(0o777 & ~current_umask())
            write_text(made / self.settings.name, settings)
            with contextlib.suppress(FileNotFoundError):
                self.path.rmdir()  # an empty one, as require_free has seen
            made.rename(self.path)
        except OSError as error:
            self.require_free()  # another run may have come first
            raise TrainingError(f"{self.path} can't be made: {error.strerror}") from error
        finally:
            shutil.rmtree(made, ignore_errors=True)  # there where the rename did not happen

    def drop_checkpoints(self) -> None:
        """Remove what a finished run no longer needs, at once for whoever looks."""
        going = self.path / REMOVED_CHECKPOINTS
        with contextlib.suppress(FileNotFoundError):
            self.checkpoints.rename(going)
        shutil.rmtree(going, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the temporary files of a process that was killed in the run."""
        shutil.rmtree(self.path / REMOVED_CHECKPOINTS, ignore_errors=True)
        files = (self.metrics, self.weights, self.card, self.audit, self.curves, self.confusion)
        for pattern in (*(f".{file.name}.*" for file in files), "checkpoints/.*.*"):
            for left in self.path.glob(pattern):
                left.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove a run that has no weights yet, and the folder if nothing else is in it."""
        self.drop_checkpoints()
        shutil.rmtree(self.tensorboard, ignore_errors=True)
        self.sweep()
        for file in (self.settings, self.audit, self.metrics):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Return a run folder that holds a trained model; else DataError."""
        run = cls(path)
        if not run.path.is_dir():
            raise DataError(f"{run.path}: no such run folder", hint="rtl finetune DATA makes one")
        missing = [f.name for f in (run.settings, run.card, run.weights) if not f.is_file()]
        if (run.checkpoints.is_dir() and missing) or missing == [run.card.name, run.weights.name]:
            raise DataError(
                f"{run.path} is not a finished run: its training was stopped",
                hint=f"rtl finetune --resume {shlex.quote(str(run.path))}",
            )
        if missing:
            raise DataError(
                f"{run.path} is not a finished run: {', '.join(missing)} missing",
                hint="rtl finetune DATA makes a run folder",
            )
        return run

    def read_card(self) -> Card:
        """Return the card of the trained model."""
        return decode_card(self.card.read_bytes(), source=str(self.card))

    def write_card(self, card: Card) -> None:
        """Put the card beside the weights."""
        write_text(self.card, encode_card(card) + "\n")

    def model_file(self, model_format: str) -> Path:
        """Return where an exported model goes unless the user says otherwise."""
        return self.export / model_name(model_format)

    def bench_result(self, provider: str) -> Path:
        """Return where the benchmark of the exported models goes."""
        return self.bench / f"{provider}.json"


def model_name(model_format: str, precision: str = "fp32", door: str = "pixels") -> str:
    """Name an exported model file by what is not the default of it.

    >>> model_name("onnx", "int8", "image")
    'model.image.int8.onnx'
    """
    kinds = [kind for kind in (door, precision) if kind not in ("pixels", "fp32")]
    return ".".join(["model", *kinds]) + SUFFIXES[model_format]


def run_of_model(model: Path) -> RunFolder | None:
    """Return the run folder that a model file lies in, None where it was moved elsewhere."""
    run = RunFolder(model.resolve().parent.parent)
    return run if run.settings.is_file() and run.weights.is_file() else None


def parity_file(model: Path) -> Path:
    """Return where the verification of a model file is reported."""
    return model.with_name(model.name + ".parity.json")


def rejected_file(model: Path) -> Path:
    """Return where the report goes of a file that failed verification and was not kept."""
    return model.with_name(model.name + ".rejected.json")


def references_file(model: Path) -> Path:
    """Return where the reference outputs of a model file lie."""
    return model.with_name(model.name + ".references.npz")


def free_run_path(parent: Path, name: str) -> Path:
    """Return parent/name, or parent/name-2, -3 … where that is taken."""
    candidate, number = parent / name, 1
    while candidate.exists():
        number += 1
        candidate = parent / f"{name}-{number}"
    return candidate
