"""Level "sessions": every way users open a file gives the same numbers, on the provider asked for.

A session is one combination of provider, graph optimisation and threads, or one through the model
cache, as the predictor opens a file. onnxruntime can fall back to another provider without an
error. So the registered providers are read from the session, and the provider that each node ran on
from a profile of one run.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.model_inputs import run_on_pixels
from toolchain.runtime.provider_names import SHORT_NAMES, short_name
from toolchain.runtime.session import (
    OPTIMISATIONS,
    open_session,
    provider_name,
)
from toolchain.verification.levels.numbers import NumberDifference, compare_numbers
from toolchain.verification.result import Figures, Level, failed

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SESSION_BATCH_SIZES = (1, 3)


def session_level(
    path: Path,
    card: Card,
    pixels: NDArray[np.uint8],
    reference: NDArray[np.float32],
    *,
    against: str,
    tolerance: float | None = None,
    provider: str = "cpu",
) -> Level:
    """Compare the logits for `pixels` in every session with `reference`, and prove the provider.

    `tolerance` is by default that of the card's precision.
    """
    worst: NumberDifference | None = None
    worst_session, opened = "", 0
    for words, session in users_sessions(path, provider):
        for batch in SESSION_BATCH_SIZES:
            opened += 1
            described = f"{words}, batch {batch}"
            try:
                found = _logits(session, card, pixels, batch)
            except ModelFileError as error:
                at = f"the session: {described}"
                return failed("sessions", against, f"{described}: {error}", where=at)
            difference = compare_numbers(reference, found, card.precision, tolerance=tolerance)
            if worst is None or _is_worse(difference, worst):
                worst, worst_session = difference, described
    assert worst is not None
    registered, nodes = provider_proof(path, card, pixels[:1], provider)
    asked = provider_name(provider)
    figures = _figures(worst, worst_session, opened) | _cuda_arithmetic(path, provider)
    figures |= {"asked": asked, "registered": registered, "nodes": nodes}
    ran = ", ".join(
        f"{count} node{'' if count == 1 else 's'} on {short_name(name)}"
        for name, count in nodes.items()
    )
    where: str | None = None
    if set(nodes) != {asked}:
        where = f"the provider: {asked} was asked for, {ran or 'no node is known to have run'}"
    elif not worst.passed:
        where = f"the session: {worst_session}, off by {worst.max_abs:.2g}"
    return Level(
        level="sessions",
        against=against,
        passed=where is None,
        rule="the same logits in each, within the numbers' rule; every node on the provider "
        "asked for",
        summary=f"{opened} sessions, off by {worst.max_abs:.1g}; {ran}",
        figures=figures,
        where=where,
    )


def _figures(worst: NumberDifference, session: str, opened: int) -> Figures:
    """Return the largest difference, found in `session`, of the sessions that were opened."""
    return {
        "sessions": opened,
        "max_difference": worst.max_abs,
        "needed": worst.needed,
        "tolerance": worst.tolerance,
        "worst_session": session,
    }


def users_sessions(path: Path, provider: str) -> Iterator[tuple[str, InferenceSession]]:
    """Yield (description, session) for every way that users open a file, the cache's last."""
    for name, threads, optimisation in itertools.product(
        dict.fromkeys((provider, "cpu")), sorted({1, usable_cores()}), OPTIMISATIONS
    ):
        session = open_session(path, provider=name, threads=threads, optimisation=optimisation)
        yield f"{name}, optimisation {optimisation}, threads {threads}", session
    # A new cache: the user's own may hold an entry that another version made.
    with tempfile.TemporaryDirectory(prefix="rtl-engine-", ignore_cleanup_errors=True) as folder:
        open_session(path, cache=Path(folder))  # makes the entry
        yield "cpu, from the model cache", open_session(path, cache=Path(folder))


def provider_proof(
    path: Path, card: Card, pixels: NDArray[np.uint8], provider: str
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return (providers the session registered, nodes that ran on each) for one profiled run."""
    with tempfile.TemporaryDirectory(prefix="rtl-profile-") as folder:
        session = open_session(path, provider=provider, profile=Path(folder) / "run")
        _logits(session, card, pixels, 1)
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text())
        registered = tuple(session.get_providers())
    provider_of = {
        event["name"]: event["args"]["provider"]
        for event in events
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    }
    return registered, dict(Counter(provider_of.values()))


def _is_worse(a: NumberDifference, b: NumberDifference) -> bool:
    """Return whether a is the larger difference; NaN is the largest."""
    return not np.isnan(b.needed) and not a.needed <= b.needed


def _logits(session: Any, card: Card, pixels: NDArray[np.uint8], batch: int) -> NDArray[np.float32]:
    """Return the logits of pixels that go in `batch` at a time; ModelFileError where one can't."""

    def compute(given: NDArray[Any]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = session.run(["logits"], {card.input: given})
        return outputs

    pieces = (pixels[start : start + batch] for start in range(0, len(pixels), batch))
    try:
        return np.concatenate([run_on_pixels(compute, piece, card)[0] for piece in pieces])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise ModelFileError(str(error).splitlines()[0]) from error


def _cuda_arithmetic(path: Path, provider: str) -> Figures:
    """Return whether CUDA may round float32 to TF32, which changes logits by about 1e-3."""
    name = provider_name(provider)
    if name != SHORT_NAMES["cuda"]:
        return {}
    options = open_session(path, provider=provider).get_provider_options()[name]
    return {"use_tf32": options.get("use_tf32", "unknown")}
