"""The card of one exported file."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import torch

from toolchain.backends.torch_eager import EagerBackend
from toolchain.exporters.variants import OPSETS, Variant
from toolchain.runtime.card import Card
from toolchain.runtime.selftest import INPUTS, make_proof, proof_pixels


def card_of(eager: EagerBackend, variant: Variant) -> Card:
    """Return the run's card, completed with what belongs to this file.

    The proof is the trained model's logits of generated inputs and of the extremes.
    """
    _, logits = eager.run(proof_pixels(eager.card.preprocessing.size))
    lowest, ir_version = OPSETS[variant.opset] if variant.format == "onnx" else (None, None)
    return msgspec.structs.replace(
        eager.card,
        format=variant.format,
        precision=variant.precision,
        input=variant.input,
        batch=variant.batch,
        opset=variant.opset if variant.format == "onnx" else None,
        ir_version=ir_version,
        lowest_onnxruntime=lowest,
        proof=make_proof(logits[:INPUTS], logits[INPUTS:]),
        versions={**eager.card.versions, "exporter torch": str(torch.__version__)},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
