"""A run whose every file can be wrong, verified with the witnesses at hand."""

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


class Baked(NamedTuple):
    """A run with a temperature, opened, and its ONNX file."""

    run: RunFolder
    file: Path
    trained: TrainedReference

    @property
    def classifier(self) -> Classifier:
        return self.trained.eager.classifier


def found(path: Path, baked: Baked, *, provider: str = "cpu") -> Verification:
    """Verify with the card and the run; the references have tests of their own."""
    return compare_with_references(
        open_backend(path, provider=provider),
        path,
        provider=provider,
        references=None,
        trained=baked.trained,
        progress=SilentReporter(),
    )


def require_caught(result: Verification, level: str, against: str, where: str) -> None:
    """The level fell short, and the last words of the error name the place."""
    assert (level, against) in {(one.level, one.against) for one in result.levels if not one.passed}
    with pytest.raises(ParityError) as caught:
        require_parity(result)
    assert re.search(f"; it begins at {where}", str(caught.value.hint)), caught.value.hint


def written(
    baked: Baked, path: Path, format: Format, door: InputKind, classifier: Classifier
) -> Path:
    """Write a classifier as a file that claims to be the run's."""
    eager = baked.trained.eager
    _, logits = eager.run(generated_pixels(eager.card.preprocessing.size))
    card = msgspec.structs.replace(eager.card, format=format, input=door, proof=make_proof(logits))
    WRITERS[format](InferenceModel(classifier, card.temperature, card.task).eval(), card, path)
    return path
