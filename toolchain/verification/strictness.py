"""What a file is held to: by what its graph is, and by tables of ours.

The card of a file belongs to what is judged, so it may only make the rules stricter.
"""

from __future__ import annotations

import msgspec

from toolchain.runtime.card import Acceptance, Card, Precision
from toolchain.runtime.selftest import PROOF_TOLERANCES, proof_tolerance
from toolchain.verification.result import Level

MAX_FLIPS = 0.02
"""Share of the validation images that may have another label in fp16 and int8 files."""


def held_card(card: Card, precision: Precision, max_flips: float = MAX_FLIPS) -> Card:
    """Return the card with the tolerances that its file is held to.

    `precision` is that of the graph. `max_flips` is what whoever verifies allows; a file that was
    exported with a smaller share is held to that one.
    """
    proof, acceptance = card.proof, card.acceptance
    if proof is not None:
        tolerance = proof_tolerance(proof, precision)
        proof = msgspec.structs.replace(proof, tolerance=tolerance)
    if precision == "fp32":
        acceptance = None
    elif acceptance is not None:
        flips = min(acceptance.max_flips, max_flips)
        acceptance = msgspec.structs.replace(acceptance, max_flips=flips)
    return msgspec.structs.replace(card, precision=precision, proof=proof, acceptance=acceptance)


def rounded_card(card: Card, max_flips: float = MAX_FLIPS) -> Card:
    """Return the card that a file is held to on a provider that rounds every layer.

    It is held to the rules of an int8 file, whatever its own precision is.
    """
    proof = card.proof
    if proof is not None:
        proof = msgspec.structs.replace(proof, tolerance=PROOF_TOLERANCES["int8"])
    # Of what an export accepted, verification reads the share of other labels alone.
    allowed = Acceptance(
        images=1,
        accuracy_before=0.0,
        accuracy_after=0.0,
        p_value=1.0,
        max_drop=0.0,
        flips=0,
        max_flips=max_flips,
    )
    return msgspec.structs.replace(card, precision="int8", proof=proof, acceptance=allowed)


def precision_level(card: Card, precision: Precision) -> Level | None:
    """Return a failed level where the card names another precision than the graph has."""
    if card.precision == precision:
        return None
    return Level(
        level="card",
        against="graph",
        passed=False,
        rule="the card names the precision of the graph",
        summary=f"the card says {card.precision}, the graph is {precision}",
        figures={"precision": precision, "different": ("precision",)},
        where="the card: precision",
    )
