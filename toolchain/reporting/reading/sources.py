"""Everything in a run folder that the report shows, read once; what is missing is noted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from toolchain.benchmarking.reading import MOST_JSON_BYTES, read_benchmark
from toolchain.benchmarking.result import Benchmark
from toolchain.data.audit_result import Audit
from toolchain.errors import DataError, ToolchainError
from toolchain.files import file_sha256
from toolchain.printable import shell_words
from toolchain.reporting.reading.epochs import Row, read_epochs
from toolchain.reporting.reading.stored_evaluation import StoredEvaluation, read_evaluation
from toolchain.runs.alignment import LABELLED_PHOTOGRAPHS
from toolchain.runs.damage import reading
from toolchain.runs.runfolder import RunFolder, parity_file
from toolchain.runs.selection import Selection, read_selection
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import Card
from toolchain.verification.result import Verification

Read = TypeVar("Read")


@dataclass(frozen=True)
class ModelFile:
    """An exported model file and the verification that it passed."""

    path: Path
    bytes: int
    verification: Verification | None
    reason: str
    """Why it counts as not verified; empty where it is."""

    @property
    def verified(self) -> bool:
        """Whether a report of exactly these bytes says that all levels passed."""
        return not self.reason


@dataclass(frozen=True)
class RunFiles:
    """What a run folder holds; None and empty for what is not there."""

    run: TrainedRun
    card: Card
    settings: FinetuneSettings
    epochs: list[Row]
    summary: Row | None
    audit: Audit | None
    selection: Selection | None
    evaluation: StoredEvaluation | None
    models: list[ModelFile]
    benchmarks: list[Benchmark]
    gaps: list[str] = field(default_factory=list)
    """What could not be read, a line each."""

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return self.run.folder

    @property
    def evaluate_command(self) -> str:
        """The command that evaluates the run.

        With `--data` where its images are elsewhere now, or are not of the camera that it is for.
        """
        words = ["rtl", "evaluate", str(self.folder.path)]
        if self.for_other_camera and self.run.data is None:
            words += ["--data", LABELLED_PHOTOGRAPHS]
        elif self.run.data is not None or not Path(self.settings.data).exists():
            words += ["--data", self.run.data or "DATA"]
        return shell_words(*words)

    @property
    def for_other_camera(self) -> bool:
        """Whether the model is for another camera than that of the run's own images."""
        return self.card.for_other_camera

    @property
    def in_several_splits(self) -> int:
        """How often the audit found images, equal or nearly so, in more than one split."""
        return 0 if self.audit is None else len(self.audit.leaks) + len(self.audit.near_leaks)

    @property
    def name(self) -> str:
        """The name of the folder, as people call the run."""
        return self.folder.path.resolve().name or str(self.folder.path)


def read_run(
    path: str | Path, *, data: str | None, bench: Sequence[str | os.PathLike[str]] = ()
) -> RunFiles:
    """Return what is in a run folder; `bench` names benchmarks that lie elsewhere.

    Of these, those of other models only are left out.

    Raises DataError where the folder is no finished run, or a file of `bench` can't be read; a
    damaged file of the run itself is a gap in the report.
    """
    run = TrainedRun.open(path, data=data)
    folder, gaps = run.folder, list[str]()

    def tried(read: Callable[[], Read], otherwise: Read) -> Read:
        try:
            return read()
        except ToolchainError as error:
            gaps.append(str(error))
            return otherwise

    no_epochs: tuple[list[Row], Row | None] = ([], None)
    epochs, summary = tried(lambda: read_epochs(folder), no_epochs)
    none: Benchmark | None = None
    found = [
        tried(partial(read_benchmark, file), none) for file in sorted(folder.bench.glob("*.json"))
    ]
    benchmarks = [*map(read_benchmark, map(Path, bench)), *filter(None, found)]
    return RunFiles(
        run=run,
        card=run.card,
        settings=run.settings,
        epochs=epochs,
        summary=summary,
        audit=tried(lambda: run.audit, None),
        selection=tried(lambda: read_selection(folder), None),
        evaluation=tried(lambda: read_evaluation(folder, run.card), None),
        models=[_model_file(file, run.card) for file in folder.exported_files()],
        benchmarks=[one for one in benchmarks if has_measured(one, run.card)],
        gaps=gaps,
    )


def has_measured(benchmark: Benchmark, card: Card) -> bool:
    """Return whether a benchmark has a model with the weights of this card; True if unknown."""
    known = {model.weights_sha256 for model in benchmark.models} - {None}
    return not known or card.weights.sha256 in known


def _model_file(path: Path, card: Card) -> ModelFile:
    """Return a model file, with the verification beside it where that is of these bytes."""
    size, report = path.stat().st_size, parity_file(path)
    if not report.is_file():
        return ModelFile(path, size, None, "no report of a verification lies beside it")
    try:
        with reading(report):
            if report.stat().st_size > MOST_JSON_BYTES:
                raise ValueError("it is too large to be a report")
            found = msgspec.json.decode(report.read_bytes(), type=Verification)
            digest = file_sha256(path)
    except DataError as error:
        return ModelFile(path, size, None, str(error))
    if found.sha256 != digest:
        return ModelFile(path, size, None, "its report was written for another file")
    return ModelFile(path, size, found, "" if found.passed else "its report says that it failed")
