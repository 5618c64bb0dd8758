"""A run folder in the place of a model file: its export answers, or else the trained network."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolchain.backends.archive import archived_card
from toolchain.backends.torch_eager import EagerBackend
from toolchain.errors import DataError, MissingExtraError, ToolchainError
from toolchain.files import is_folder
from toolchain.printable import shell_words
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import Card, decode_card
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.runtime.modelfile import ModelFile, require_digest
from toolchain.runtime.openmodel import OpenModel
from toolchain.runtime.predictor import Predictor


class RunPredictor(Predictor):
    """A predictor whose model is the trained network of a run, computed by torch.

    `provider` is cpu or cuda; `threads` are torch's, for the whole process. Raises DataError or
    ModelFileError for a run that can't be used, MissingExtraError without torch, ProviderError.
    """

    has_sessions = False

    def _opened(self, model: str | os.PathLike[str], **options: Any) -> OpenModel:
        return _TrainedModel(model, **options)


class _TrainedModel(OpenModel):
    """The network of a run in the place of an open model file."""

    def __init__(
        self,
        run: str | os.PathLike[str],
        *,
        provider: str,
        threads: int | None,
        sha256: str | None = None,
        **unused: Any,
    ) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError("torch, which computes a run,", "train") from error
        from toolchain.networks.device import torch_device

        trained = TrainedRun.open(run)
        device = torch_device(provider)
        if threads:
            torch.set_num_threads(threads)
        self.model, self.card = os.fspath(run), trained.card
        self._run = Path(run).absolute()
        self.file = ModelFile(trained.folder.weights)
        require_digest(self.file, sha256)
        self.asked = provider
        self.options = {"provider": provider, "threads": threads, **unused}
        self._closed = False
        self._session: Any = _EagerSession(
            EagerBackend(trained.classifier.to(device), trained.card)
        )

    @property
    def path(self) -> Path:
        """The absolute path of the run folder; `file` is that of its weights."""
        return self._run


class _EagerSession:
    """Computes what a session of an exported file would."""

    def __init__(self, backend: EagerBackend) -> None:
        self._backend = backend

    def run(self, names: Sequence[str], inputs: dict[str, Any]) -> ModelOutputs:
        """Return (probabilities, logits) of the only input, pixels uint8."""
        [pixels] = inputs.values()
        # torch warns of arrays that it could not write to, as those of Pillow's images are.
        return self._backend.run(np.require(pixels, requirements="W"))


def open_predictor(
    model: str | os.PathLike[str], *, report: Callable[[str], None], **options: Any
) -> Predictor:
    """Return a predictor of a model file, or of a run folder; `report` is told which model it is.

    A run is answered by the fp32 ONNX file in its `export/`, where this is of the run's model as it
    is now, else by torch. `options` are those of `Predictor`. Raises what opening them raises.
    """
    if not is_run(model):
        return Predictor(model, **options)
    run = RunFolder.open(model)
    file = run.model_file("onnx")
    if file.is_file():
        if _belongs(run, file):
            report(f"{file} answers for the run {run.path}")
            return Predictor(file, **options)
        report(f"{file} is not of the run's model as it is now: torch answers")
    else:
        report(f"{run.path} has no {file.name}: torch answers, slower than an exported file")
    return RunPredictor(run.path, **options)


def is_run(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is the folder of a run, finished or not."""
    folder = RunFolder(path)
    return is_folder(folder.path) and (folder.settings.is_file() or folder.card.is_file())


def exported_file(model: str | os.PathLike[str]) -> Path:
    """Return the path of a model file; for a run folder that of the file exported from it.

    Raises DataError for a run of which nothing was exported, or several files but no `model.onnx`.
    """
    if not is_run(model):
        return Path(model)
    run = RunFolder.open(model)
    if (default := run.model_file("onnx")).is_file():
        return default
    found = sorted(run.exported_files())
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"{run.path} is a run of which no model file was exported yet",
            hint=shell_words("rtl", "export", run.path),
        )
    names = ", ".join(file.name for file in found)
    raise DataError(f"{run.path} has several model files: {names}", hint=f"name one: {found[0]}")


def _belongs(run: RunFolder, file: Path) -> bool:
    """Return whether a model file was exported from the run's weights as they are now."""
    card = None
    with contextlib.suppress(ToolchainError, OSError):
        card = _card_in(file)
    if card is None or card.adapted is not None:
        return False
    return card.weights.sha256 == run.read_card().weights.sha256


def _card_in(file: Path) -> Card | None:
    from toolchain.runtime.onnxfile.scan import scan_model

    if zipfile.is_zipfile(file):
        return decode_card(archived_card(file), source=str(file))
    text = scan_model(file).card
    return None if text is None else decode_card(text, source=str(file))
