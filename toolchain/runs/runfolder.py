"""The names and places of all files in a run folder and beside a model file."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path

from toolchain.display import megabytes
from toolchain.errors import DataError, ModelFileError, TrainingError
from toolchain.files import A_URL, DOWNLOAD, as_url, current_umask, real_path, write_text
from toolchain.printable import shell_words
from toolchain.runs.damage import RESTORE
from toolchain.runtime.card import Card, decode_card, encode_card

SUFFIXES = {"onnx": ".onnx", "torchscript": ".torchscript.pt", "pt2": ".pt2"}
"""Of model files, by format."""
MODEL_SUFFIXES = (".onnx", ".pt", ".pt2")
"""Last suffixes of model files."""

REMOVED_CHECKPOINTS = ".checkpoints.removed"
"""Name of the folder of checkpoints while it is being removed."""

OF_THE_FILE_SYSTEM = frozenset(["lost+found", ".DS_Store", "Thumbs.db", "desktop.ini"])
"""Names that a freshly mounted or opened folder may have: with them it is still empty."""


class RunFolder:
    """The folder that a training run writes: plain files, which can be moved or copied as one."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.settings = self.path / "settings.toml"
        self.selection = self.path / "selection.json"
        self.alignment = self.path / "alignment.json"
        self.metrics = self.path / "metrics.jsonl"
        self.weights = self.path / "model.safetensors"
        self.card = self.path / "card.json"
        self.delta = self.path / "delta.safetensors"
        self.audit = self.path / "audit.json"
        self.excluded = self.path / "excluded.csv"
        self.curves = self.path / "curves.png"
        self.confusion = self.path / "confusion.png"
        self.evaluation = self.path / "evaluation.json"
        self.logits = self.path / "evaluation-logits.npy"
        self.export = self.path / "export"
        self.bench = self.path / "bench"
        self.checkpoints = self.path / "checkpoints"
        self.reserved = self.checkpoints / "reserved-for-the-model"
        self.tensorboard = self.path / "tensorboard"
        self.wandb = self.path / "wandb"
        self.trackers = self.path / "trackers.json"
        self.rate_sweep = self.path / "lr-find.json"
        self.rate_picture = self.path / "lr-find.png"
        self.report = self.path / "report.html"
        self.comparison = self.path / "comparison.html"

    def require_free(self) -> None:
        """Raise TrainingError unless the path is free or an empty folder: no run is overwritten."""
        if os.path.lexists(self.path) and not self._is_empty_folder():
            hint = f"choose another folder with -o, or remove {self.path}"
            if self.settings.is_file() and self.checkpoints.is_dir():  # it was stopped
                hint = f"rtl finetune --resume {shell_words(self.path)}, or {hint}"
            raise TrainingError(
                f"{self.path} exists and is not empty; a run is never written over", hint=hint
            )

    def require_creatable(self) -> None:
        """Raise TrainingError unless the run can be made here, found out by making a file.

        For the time before the images are read. Permissions alone do not tell: the disk may be
        mounted for reading only.
        """
        if url := as_url(self.path):
            raise TrainingError(f"{url} can't be made: it is {A_URL}", hint="choose a path with -o")
        self.require_free()
        above = [self.path, *self.path.absolute().parents]
        folder = next((one for one in above if one.is_dir()), Path())
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise TrainingError(
                f"{self.path} can't be made: {reason} in {folder}",
                hint="choose another folder with -o",
            ) from error

    def create(self, settings: str, selection: str | None = None) -> None:
        """Make the folder with settings.toml in it, by one rename; or use an empty folder.

        `selection` is the content of selection.json, where the settings were chosen.

        So the folder never exists without settings, and a run that is killed at any time can be
        resumed. An empty folder may be a mount point, a link or the current folder, which can't
        be replaced: it gets the settings as its first file. Raises TrainingError where the path is
        taken or the folder can't be made.
        """
        self.require_free()
        try:
            if self._is_empty_folder():
                if selection is not None:
                    write_text(self.selection, selection)
                self._begin(settings)
            else:
                self._make(settings, selection)
        except OSError as error:
            self.require_free()  # another run may have made it meanwhile
            raise TrainingError(f"{self.path} can't be made: {error.strerror}") from error

    def _make(self, settings: str, selection: str | None) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        try:
            made.chmod(0o777 & ~current_umask())
            write_text(made / self.settings.name, settings)
            if selection is not None:
                write_text(made / self.selection.name, selection)
            made.rename(self.path)
        finally:
            shutil.rmtree(made, ignore_errors=True)  # exists only if the rename failed

    def _begin(self, settings: str) -> None:
        """Write settings.toml into an empty folder; FileExistsError where another run has."""
        handle, name = tempfile.mkstemp(prefix=f".{self.settings.name}.", dir=self.path)
        os.close(handle)
        try:
            Path(name).write_text(settings, encoding="utf-8")
            Path(name).chmod(0o666 & ~current_umask())
            try:
                os.link(name, self.settings)
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                Path(name).replace(self.settings)
        finally:
            Path(name).unlink(missing_ok=True)

    def _is_empty_folder(self) -> bool:
        try:
            return all(file.name in OF_THE_FILE_SYSTEM for file in self.path.iterdir())
        except OSError:  # no folder, or one that can't be looked into
            return False

    def reserve_room(self, bytes_: int) -> None:
        """Take the disk space of the model now, so that it can be written at the end in any case.

        Raises TrainingError where it is not there.
        """
        self.checkpoints.mkdir(exist_ok=True)
        try:
            with self.reserved.open("wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, bytes_)
        except OSError as error:
            self.release_room()
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                return  # a file system that can't reserve
            free = megabytes(shutil.disk_usage(self.checkpoints).free)
            raise TrainingError(
                f"{self.path} has no room for the model: it takes {megabytes(bytes_)}, and {free} "
                "are free",
                hint="make room, or choose another folder with -o",
            ) from error

    def release_room(self) -> None:
        """Give back what `reserve_room` has taken."""
        with contextlib.suppress(OSError):
            self.reserved.unlink(missing_ok=True)

    def drop_checkpoints(self) -> None:
        """Remove the checkpoints, which a finished run no longer needs.

        They are renamed first, so that another process sees all of them or none.
        """
        removed = self.path / REMOVED_CHECKPOINTS
        with contextlib.suppress(FileNotFoundError):
            self.checkpoints.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)

    def remove_temporary_files(self) -> None:
        """Remove what a killed process left unfinished in the folder."""
        shutil.rmtree(self.path / REMOVED_CHECKPOINTS, ignore_errors=True)
        written = (self.metrics, self.weights, self.card, self.audit, self.excluded)
        files = (*written, self.alignment, self.curves, self.confusion, self.trackers)
        for pattern in (*(f".{file.name}.*" for file in files), "checkpoints/.*.*"):
            for temporary in self.path.glob(pattern):
                temporary.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the files of a run without weights, and the folder if nothing else is in it."""
        self.drop_checkpoints()
        for folder in (self.tensorboard, self.wandb):
            shutil.rmtree(folder, ignore_errors=True)
        self.remove_temporary_files()
        records = (self.settings, self.selection, self.audit, self.excluded, self.metrics)
        for file in (*records, self.alignment, self.trackers):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Return the run folder at `path`; raise DataError unless it has a trained model."""
        run = cls(path)
        if not run.path.is_dir() or _is_part_of_run(run):
            raise no_run_folder(run.path)
        missing = [f.name for f in (run.settings, run.card, run.weights) if not f.is_file()]
        if (run.checkpoints.is_dir() and missing) or missing == [run.card.name, run.weights.name]:
            raise DataError(
                f"{run.path} is not a finished run: its training was stopped",
                hint=f"rtl finetune --resume {shell_words(run.path)}",
            )
        if missing:
            raise DataError(
                f"{run.path} is not a finished run: {', '.join(missing)} missing",
                hint="rtl finetune DATA makes a run folder",
            )
        return run

    def read_card(self) -> Card:
        """Return the card of the trained model; raise ModelFileError for a damaged one."""
        try:
            return decode_card(self.card.read_bytes(), source=str(self.card))
        except ModelFileError as error:
            if error.__cause__ is None:  # it is of a newer rtl
                raise
            reason = str(error).partition("can't be read: ")[2] or str(error)
            raise ModelFileError(f"{self.card} is damaged: {reason}", hint=RESTORE) from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ModelFileError(f"{self.card} can't be read: {reason}", hint=RESTORE) from error

    def write_card(self, card: Card) -> None:
        """Write card.json."""
        write_text(self.card, encode_card(card) + "\n")

    def begun_anew(self, data: str | os.PathLike[str], *options: object) -> str:
        """Return the command of a new run with the settings of this one."""
        return shell_words("rtl", "finetune", data, "--config", self.settings, *options)

    def model_file(self, model_format: str) -> Path:
        """Return the default path of an exported model."""
        return self.export / model_name(model_format)

    def exported_files(self) -> list[Path]:
        """Return the model files in export/, the default of each format first, then by name."""
        defaults = [model_name(model_format) for model_format in SUFFIXES]
        found = [p for p in self.export.glob("*") if p.suffix in MODEL_SUFFIXES and p.is_file()]
        visible = [path for path in found if not path.name.startswith(".")]
        return sorted(visible, key=lambda p: ([*defaults, p.name].index(p.name), p.name))

    def bench_result(self, provider: str) -> Path:
        """Return the default path of a benchmark's result."""
        return self.bench / f"{provider}.json"


def _is_part_of_run(run: RunFolder) -> bool:
    return not run.settings.is_file() and RunFolder(run.path.parent).settings.is_file()


def no_run_folder(path: Path) -> DataError:
    """Return the error for a path that is no run folder; it names the one that the path is in."""
    for above in list(path.parents)[:3]:
        if path.exists() and RunFolder(above).settings.is_file():
            return DataError(
                f"{path} is in a run folder and none itself", hint=f"give {shell_words(above)}"
            )
    if url := as_url(path):
        return DataError(f"{url}: {A_URL}", hint=DOWNLOAD)
    wrong = "is no run folder" if path.exists() else "no such run folder"
    punctuation = "" if path.exists() else ":"
    return DataError(f"{path}{punctuation} {wrong}", hint="rtl finetune DATA makes one")


def model_name(
    model_format: str,
    precision: str = "fp32",
    input_kind: str = "pixels",
    *,
    batch: int | None = None,
    size: int | None = None,
    opset: int | None = None,
) -> str:
    """Return the name of an exported model file; only what is off the default shows.

    `batch`, `size` and `opset` are None for the default. Different files have different names.

    >>> model_name("onnx", "int8", "image")
    'model.image.int8.onnx'
    >>> model_name("onnx", batch=4, size=96)
    'model.batch4.size96.onnx'
    """
    numbers = {"batch": batch, "size": size, "opset": opset}
    words = [
        "model",
        "" if input_kind == "pixels" else input_kind,
        *(f"{word}{number}" for word, number in numbers.items() if number is not None),
        "" if precision == "fp32" else precision,
    ]
    return ".".join(filter(None, words)) + SUFFIXES[model_format]


def run_of_model(model: Path) -> RunFolder | None:
    """Return the run folder that a model file was exported into; None where it was moved out."""
    run = RunFolder(real_path(model).parent.parent)
    return run if run.settings.is_file() and run.weights.is_file() else None


def parity_file(model: Path) -> Path:
    """Return the path of the verification report of a model file."""
    return model.with_name(model.name + ".parity.json")


def rejected_file(model: Path) -> Path:
    """Return the path of the report on a model file that failed verification and was not kept."""
    return model.with_name(model.name + ".rejected.json")


def free_run_path(parent: Path, name: str) -> Path:
    """Return parent/name, or parent/name-2, -3 … where that is taken."""
    candidate, number = parent / name, 1
    while os.path.lexists(candidate):
        number += 1
        candidate = parent / f"{name}-{number}"
    return candidate
