"""The levels of a file against its own card, which holds the logits of generated inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from toolchain.backends.backend import Backend
from toolchain.errors import ModelFileError
from toolchain.runtime.card import Card, Proof
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import (
    INPUT_NAMES,
    INPUTS,
    generated_pixels,
    proof_difference,
    proof_pixels,
    same_file_tolerance,
)
from toolchain.verification.examination import Where, examined
from toolchain.verification.levels.probabilities import (
    PROBABILITY_TOLERANCE,
    wrong_probability_stage,
)
from toolchain.verification.levels.sessions import session_level
from toolchain.verification.result import Figures, Level


def card_levels(
    backend: Backend, held: Card, path: Path, provider: str, where: Where
) -> Iterator[Level]:
    """Yield the levels of a file whose card holds a proof; sessions are those of onnxruntime.

    `held` is the card that the file is held to. `where` is asked for the place of a fault when the
    file can't be computed.
    """
    proof = held.proof
    assert proof is not None
    yield examined("numbers", "card", lambda: _proof_level(backend, held, proof), where)
    if isinstance(backend, Predictor):
        yield examined("sessions", "card", lambda: _sessions(backend, held, path, provider), where)


def _proof_level(backend: Backend, held: Card, proof: Proof) -> Level:
    """Compare the logits of the generated inputs and of the extremes with the card's."""
    outputs = backend.run(proof_pixels(held.preprocessing.size))
    count = INPUTS + len(proof.extremes)
    difference = proof_difference(proof, outputs.logits[:count])
    lost = np.asarray(~np.isfinite(np.concatenate(outputs, axis=1)).all(axis=1))
    names = [name for name, bad in zip(INPUT_NAMES, lost, strict=True) if bad]
    where = f"the input {', '.join(names)}: its outputs are not numbers" if names else None
    where = where or wrong_probability_stage(held, outputs)
    figures: Figures = {
        "inputs": count,
        "relative_difference": difference,
        "tolerance": proof.tolerance,
    }
    if names:
        figures["not_finite"] = tuple(names)
    return Level(
        level="numbers",
        against="card",
        passed=difference <= proof.tolerance and where is None,
        rule=f"|a − b| ≤ {proof.tolerance:g} · max(1, max|b|) on generated inputs; the "
        f"probabilities follow from the logits within {PROBABILITY_TOLERANCE:g}",
        summary=f"{count} inputs, off by {difference:.1g} (relative), allowed {proof.tolerance:g}"
        + (f"; not a number for {', '.join(names)}" if names else "")
        + ("; the probabilities don't follow from them" if where and not names else ""),
        figures=figures,
        where=where,
    )


def _sessions(backend: Backend, held: Card, path: Path, provider: str) -> Level:
    generated = generated_pixels(held.preprocessing.size)
    reference = backend.run(generated).logits
    if len(reference) != len(generated):
        raise ModelFileError(f"it gives {len(reference)} rows for {len(generated)} images")
    return session_level(
        path,
        held,
        generated,
        reference,
        against="card",
        tolerance=same_file_tolerance(held),
        provider=provider,
    )
