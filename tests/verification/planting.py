"""Planted faults: a run, files of it with a fault, and the assertion that the fault is found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from toolchain.backends.backend import open_backend
from toolchain.errors import ParityError
from toolchain.exporters.writers.pt2 import write_program
from toolchain.exporters.writers.torchscript import write_torchscript
from toolchain.networks.resnet import Classifier, InferenceModel
from toolchain.progress import SilentReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.card import Format, InputKind
from toolchain.runtime.selftest import generated_pixels, make_proof
from toolchain.verification.comparison import compare_with_references
from toolchain.verification.references.trained_model import TrainedReference
from toolchain.verification.result import Verification, require_parity

TEMPERATURE = 1.7
OFF = r"off by [\d.e+-]+, allowed [\d.e-]+"
WRITERS = {"pt2": write_program, "torchscript": write_torchscript}


class ExportedRun(NamedTuple):
    """A run with a temperature, opened, and its ONNX file."""

    run: RunFolder
    file: Path
    trained: TrainedReference

    @property
    def classifier(self) -> Classifier:
        return self.trained.eager.classifier


def verified(path: Path, exported_run: ExportedRun, *, provider: str = "cpu") -> Verification:
    """Verify against the card and the run; stored outputs have tests of their own."""
    return compare_with_references(
        open_backend(path, provider=provider),
        path,
        provider=provider,
        stored=None,
        trained=exported_run.trained,
        progress=SilentReporter(),
    )


def require_caught(result: Verification, level: str, against: str, where: str) -> None:
    """Assert that a level failed, and that the error's hint ends with the place."""
    assert (level, against) in {(one.level, one.against) for one in result.levels if not one.passed}
    with pytest.raises(ParityError) as caught:
        require_parity(result)
    assert re.search(f"; it begins at {where}", str(caught.value.hint)), caught.value.hint


def written(
    exported_run: ExportedRun,
    path: Path,
    format: Format,
    input_kind: InputKind,
    classifier: Classifier,
) -> Path:
    """Write a classifier, which may have a fault, as a file with the card of the run."""
    eager = exported_run.trained.eager
    logits = eager.run(generated_pixels(eager.card.preprocessing.size)).logits
    card = msgspec.structs.replace(
        eager.card, format=format, input=input_kind, proof=make_proof(logits)
    )
    WRITERS[format](InferenceModel(classifier, card.temperature, card.task).eval(), card, path)
    return path
