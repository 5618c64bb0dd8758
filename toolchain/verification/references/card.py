"""The levels of a file against its own card, which holds the logits of generated inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from toolchain.backends.backend import Backend
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import generated_pixels, proof_difference
from toolchain.verification.levels.numbers import same_file_tolerance
from toolchain.verification.levels.probabilities import (
    PROBABILITY_TOLERANCE,
    wrong_probability_stage,
)
from toolchain.verification.levels.sessions import session_level
from toolchain.verification.result import Level


def card_levels(backend: Backend, path: Path, provider: str) -> Iterator[Level]:
    """Yield the levels of a file whose card holds a proof; sessions are those of onnxruntime."""
    proof = backend.card.proof
    assert proof is not None
    generated = generated_pixels(backend.card.preprocessing.size)
    outputs = backend.run(generated)
    difference = proof_difference(proof, outputs.logits)
    where = wrong_probability_stage(backend.card, outputs)
    inputs = len(outputs.logits)
    yield Level(
        level="numbers",
        against="card",
        passed=difference <= proof.tolerance and where is None,
        rule=f"|a − b| ≤ {proof.tolerance:g} · max(1, max|b|) on generated inputs; the "
        f"probabilities follow from the logits within {PROBABILITY_TOLERANCE:g}",
        summary=f"{inputs} inputs, off by {difference:.1g} (relative), allowed {proof.tolerance:g}"
        + ("; the probabilities don't follow from them" if where else ""),
        figures={
            "inputs": inputs,
            "relative_difference": difference,
            "tolerance": proof.tolerance,
        },
        where=where,
    )
    if isinstance(backend, Predictor):
        yield session_level(
            path,
            backend.card,
            generated,
            outputs.logits,
            against="card",
            tolerance=same_file_tolerance(backend.card),
            provider=provider,
        )
