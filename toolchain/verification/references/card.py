"""Compare a file with the proof in its own card: logits of generated inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from toolchain.backends.backend import Backend
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import generated_pixels, proof_difference
from toolchain.verification.levels.numbers import same_file_tolerance
from toolchain.verification.levels.probabilities import TOLERANCE, where_outputs_part
from toolchain.verification.levels.sessions import session_level
from toolchain.verification.result import Level


def card_levels(backend: Backend, path: Path, provider: str) -> Iterator[Level]:
    """Compare the file with the proof in its own card, and its sessions with each other."""
    proof = backend.card.proof
    assert proof is not None
    generated = generated_pixels(backend.card.preprocessing.size)
    probabilities, logits = backend.run(generated)
    difference = proof_difference(proof, logits)
    where = where_outputs_part(backend.card, (probabilities, logits))
    yield Level(
        level="numbers",
        against="card",
        passed=difference <= proof.tolerance and where is None,
        rule=f"|a − b| ≤ {proof.tolerance:g} · max(1, max|b|) on generated inputs; the "
        f"probabilities follow from the logits within {TOLERANCE:g}",
        summary=f"{len(logits)} inputs, off by {difference:.1g} (relative), "
        f"allowed {proof.tolerance:g}"
        + ("; the probabilities don't follow from them" if where else ""),
        figures={
            "inputs": len(logits),
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
            logits,
            against="card",
            tolerance=same_file_tolerance(backend.card),
            provider=provider,
        )
