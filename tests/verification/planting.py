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
from toolchain.networks.resnet import Classifier, Served
from toolchain.progress import Silent
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.card import Door, Format
from toolchain.runtime.selftest import generated_pixels, make_proof
from toolchain.verification.references.trained_model import Workshop
from toolchain.verification.result import Verification, require_parity
from toolchain.verification.verify import verify_backend

TEMPERATURE = 1.7
OFF = r"off by [\d.e+-]+, allowed [\d.e-]+"
WRITERS = {"pt2": write_program, "torchscript": write_torchscript}


class Baked(NamedTuple):
    """A run with a temperature, opened, and its ONNX file."""

    run: RunFolder
    file: Path
    workshop: Workshop

    @property
    def classifier(self) -> Classifier:
        return self.workshop.eager.classifier


def found(path: Path, baked: Baked, *, provider: str = "cpu") -> Verification:
    """Verify with the card and the run; the references have tests of their own."""
    return verify_backend(
        open_backend(path, provider=provider),
        path,
        provider=provider,
        references=None,
        workshop=baked.workshop,
        narrator=Silent(),
    )


def require_caught(result: Verification, level: str, against: str, where: str) -> None:
    """The level fell short, and the last words of the error name the place."""
    assert (level, against) in {(one.level, one.against) for one in result.levels if not one.passed}
    with pytest.raises(ParityError) as caught:
        require_parity(result)
    assert re.search(f"; it begins at {where}", str(caught.value.hint)), caught.value.hint


def written(baked: Baked, path: Path, format: Format, door: Door, classifier: Classifier) -> Path:
    """Write a classifier as a file that claims to be the run's."""
    eager = baked.workshop.eager
    _, logits = eager.run(generated_pixels(eager.card.preprocessing.size))
    card = msgspec.structs.replace(eager.card, format=format, input=door, proof=make_proof(logits))
    WRITERS[format](Served(classifier, card.temperature, card.task).eval(), card, path)
    return path
