"""The reference outputs that are stored beside an exported file."""

from __future__ import annotations

from toolchain.backends.backend import Backend
from toolchain.runs.sampling import evenly
from toolchain.runtime.stored_outputs import MOST_STORED_IMAGES, StoredOutputs
from toolchain.verification.references.stored_images import outputs_of_images
from toolchain.verification.references.trained_model import TrainedReference


def outputs_to_store(trained: TrainedReference, exported: Backend) -> StoredOutputs:
    """Return a few validation images with the outputs that the file must repeat elsewhere.

    They are the trained model's for fp32. A file of a lower precision differs from the trained
    model by more than from itself on another machine, so its own outputs are stored.
    """
    source = trained.eager if exported.card.precision == "fp32" else exported
    names = dict(zip(trained.paths, trained.names, strict=True))
    paths = evenly(trained.paths, MOST_STORED_IMAGES)
    return outputs_of_images(source, trained.eager.card, {path: names[path] for path in paths})
