"""Write an adapted file: under a temporary name, verified, then renamed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from toolchain.adaptation.classifier import Doubles, replaced
from toolchain.adaptation.features import FeatureModel
from toolchain.adaptation.original import Original
from toolchain.backends.onnxruntime import open_onnx
from toolchain.errors import ParityError
from toolchain.files import atomic_file, write_json
from toolchain.progress import ProgressReporter
from toolchain.runs.runfolder import parity_file, rejected_file
from toolchain.runs.sampling import evenly
from toolchain.runtime.card import Adaptation, Card, encode_card
from toolchain.runtime.model_inputs import ModelOutputs, Pixels
from toolchain.runtime.selftest import INPUTS, make_proof, proof_pixels
from toolchain.runtime.stored_outputs import (
    MOST_STORED_IMAGES,
    references_file,
    write_stored_outputs,
)
from toolchain.verification.comparison import compare_with_references
from toolchain.verification.levels.probabilities import expected_probabilities
from toolchain.verification.references.stored_images import outputs_of_images
from toolchain.verification.result import Verification, require_parity


@dataclass(frozen=True, eq=False)
class AdaptedClassifier:
    """What an adapted file has to compute: the original's features, then numpy.

    It is a `Backend` that shares no byte with the new file, so that comparing both is a proof.
    """

    graph: FeatureModel
    weight: Doubles
    bias: Doubles
    card: Card

    def run(self, pixels: Pixels) -> ModelOutputs:
        """Return the outputs for pixels uint8 [batch, size, size, 3]."""
        features = self.graph.of_pixels(pixels).astype(np.float64)
        logits = features @ self.weight.T + self.bias
        probabilities = expected_probabilities(logits, self.card.temperature, self.card.task)
        return ModelOutputs(probabilities.astype(np.float32), logits.astype(np.float32))


def write_adapted(
    original: Original,
    weight: Doubles,
    bias: Doubles,
    adaptation: Adaptation,
    images: Mapping[Path, str],
    path: Path,
    progress: ProgressReporter,
) -> Verification:
    """Write the original with another classifier to `path`, with its report and references.

    `images` are photographs of the new camera and their names; some are stored as references.
    Raises ParityError where the file does not compute what it should; nothing is kept then.
    """
    there = ", in place of the file that is there" if path.exists() else ""
    progress.message(f"writing {path}{there}")
    expected = AdaptedClassifier(original.graph, weight, bias, original.card)
    logits = expected.run(proof_pixels(original.card.preprocessing.size)).logits
    card = msgspec.structs.replace(
        original.card,
        metrics=None,  # they were measured with the trained classifier
        proof=make_proof(logits[:INPUTS], logits[INPUTS:]),
        adapted=adaptation,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    chosen = {image: images[image] for image in evenly(list(images), MOST_STORED_IMAGES)}
    stored = outputs_of_images(expected, card, chosen)
    rejected_file(path).unlink(missing_ok=True)
    with atomic_file(path) as candidate:
        candidate.write_bytes(
            replaced(original.data, original.classifier, weight, bias, encode_card(card))
        )
        with open_onnx(candidate) as opened:
            result = compare_with_references(
                opened,
                candidate,
                stored=stored,
                trained=None,
                every_batch_size=False,
                progress=progress,
            )
        result = msgspec.structs.replace(result, model=str(path))
        try:
            require_parity(result)
        except ParityError as error:
            write_json(rejected_file(path), result)
            hint = f"see {rejected_file(path)}"
            raise ParityError(f"{error}; the file was not kept", hint=hint) from error
        # Before the file is renamed: an older file keeps its own where the disk is full.
        write_stored_outputs(stored, references_file(path))
        write_json(parity_file(path), result)
    return result
