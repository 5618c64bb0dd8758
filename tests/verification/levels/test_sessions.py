"""Level "sessions": each gives the same logits and runs on the provider asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from toolchain import Predictor
from toolchain.errors import ModelFileError, ProviderError
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.modelcache.cache import Engine
from toolchain.runtime.selftest import generated_pixels
from toolchain.verification.levels import sessions
from toolchain.verification.levels.sessions import provider_proof, session_level
from toolchain.verification.result import Level

CPU = "CPUExecutionProvider"
PIXELS = generated_pixels(64)
THREADS = len({1, usable_cores()})
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def predictor(model: Path) -> Predictor:
    return Predictor(model)


def level_of(model: Path, predictor: Predictor, **options: Any) -> Level:
    logits = predictor.run(PIXELS).logits
    return session_level(model, predictor.card, PIXELS, logits, against="card", **options)


def change_logits(monkeypatch: pytest.MonkeyPatch, change: Callable[[int, Floats], Floats]) -> None:
    """Let the logits of the sessions be changed, by the number of the session."""
    original, number = sessions._logits, iter(range(100))
    monkeypatch.setattr(sessions, "_logits", lambda *args: change(next(number), original(*args)))


def test_every_session_is_opened_and_agrees(model: Path, predictor: Predictor) -> None:
    level = level_of(model, predictor)
    assert level.passed
    assert level.where is None
    assert level.figures["sessions"] == (4 * THREADS + 1) * 2
    assert (level.figures["asked"], level.figures["registered"]) == (CPU, (CPU,))


def test_a_model_cache_that_computes_otherwise_is_named(
    model: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine.open_kept
    taken: list[Engine] = []

    def kept_wrong(engine: Engine, options: Any, open_file: Any) -> Any:
        session = real(engine, options, open_file)
        if session is not None:
            taken.append(engine)
        return session

    monkeypatch.setattr(Engine, "open_kept", kept_wrong)
    change_logits(monkeypatch, lambda _, logits: logits + (0.5 if taken else 0))
    level = level_of(model, predictor)
    assert str(level.where).startswith("the session: cpu, from the model cache, batch 1, off by")
    assert not taken[0].held.path.exists(), "the user's cache is left alone"


def test_the_proof_counts_every_node_that_ran(
    model: Path, predictor: Predictor, tmp_path: Path
) -> None:
    registered, nodes = provider_proof(model, predictor.card, PIXELS[:1], "cpu")
    # onnxruntime rewrites the graph before it runs it, and can write down what it made of it.
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "rewritten.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model, options, providers=[CPU])
    rewritten = onnx.load(tmp_path / "rewritten.onnx")
    assert registered == (CPU,)
    assert nodes == {CPU: len(rewritten.graph.node)}


def test_a_session_that_computes_otherwise_is_named(
    model: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The second session is that of one thread, no optimisation, the second batch.
    change_logits(monkeypatch, lambda number, logits: logits + (0.5 if number == 1 else 0))
    level = level_of(model, predictor)
    assert not level.passed
    where = (
        f"the session: cpu, optimisation none, threads 1, batch {sessions.SESSION_BATCH_SIZES[1]}"
    )
    assert level.where == f"{where}, off by 0.5"


@pytest.mark.parametrize("wrong", [0, 3, 8 * THREADS - 1])
def test_one_session_that_gives_nan_is_named(
    model: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    nothing = np.float32("nan")
    change_logits(monkeypatch, lambda number, logits: logits * (nothing if number == wrong else 1))
    level = level_of(model, predictor)
    assert not level.passed
    assert str(level.where).startswith("the session: cpu")


def test_a_session_that_can_not_compute_is_named(
    model: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int, logits: Floats) -> Floats:
        if number == 2:
            raise ModelFileError("no kernel")
        return logits

    change_logits(monkeypatch, refuse)
    level = level_of(model, predictor)
    assert not level.passed
    assert level.summary.endswith("no kernel")
    assert str(level.where).startswith("the session: cpu, optimisation basic")


def test_a_provider_that_would_fall_back_is_an_error(model: Path, predictor: Predictor) -> None:
    # What happens where the option against it is missing is in test_mutations_of_code.
    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime lists no provider that computes nothing")
    with pytest.raises(ProviderError, match="can't run every layer"):
        level_of(model, predictor, provider="AzureExecutionProvider")


def test_a_node_that_ran_elsewhere_fails_and_so_does_a_profile_without_nodes(
    model: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for nodes, words in (
        ({CPU: 29, "OtherExecutionProvider": 1}, "29 nodes on cpu, 1 node on Other"),
        ({}, "no node is known to have run"),
    ):
        monkeypatch.setattr(sessions, "provider_proof", lambda *_, n=nodes: ((CPU,), n))
        level = level_of(model, predictor)
        assert not level.passed
        assert str(level.where).startswith(f"the provider: {CPU} was asked for, {words}")
