"""`provider="auto"`: the choice, what it is kept by, and what happens where it can't be."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.engines.files import answer, model_with_references, proven_card
from tests.runtime.engines.machine import SLOW, Machine
from toolchain import Predictor
from toolchain.errors import ProviderError, RefusedError
from toolchain.runtime.engines import choice, openvino, timing
from toolchain.runtime.engines.acceptance import Run
from toolchain.runtime.engines.choice import measured_choice
from toolchain.runtime.engines.timing import Timing
from toolchain.runtime.provider_names import computes_on_processor


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_with_references(tmp_path / "model.onnx", images=8)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines" / "choices"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def taken(model: Path, **options: Any) -> str:
    with Predictor(model, provider="auto", **options) as predictor:
        return predictor.provider


def test_the_faster_engine_is_taken_and_named_with_the_reason(
    model: Path, cache: Path, machine: Machine
) -> None:
    with Predictor(model, provider="auto") as predictor:
        assert predictor.provider == "spare"
        found = predictor.provider_choice
        assert found is not None
        assert str(found) == (
            "spare: 2.00 × as fast as cpu, same answers for 8 images and 7 generated inputs"
        )
        assert [(e.provider, e.refused, e.ratio) for e in found.engines] == [
            ("cpu", None, 1.0),
            ("spare", None, 2.0),
        ]
        assert not found.kept
        assert "provider='spare'" in repr(predictor)
        pixels = np.full((1, 8, 8, 3), 200, np.uint8)
        np.testing.assert_allclose(predictor.run(pixels).logits, answer(pixels)[1], rtol=1e-5)


def test_a_named_provider_has_no_choice(model: Path, cache: Path, machine: Machine) -> None:
    with Predictor(model) as predictor:
        assert (predictor.provider, predictor.provider_choice) == ("cpu", None)
    assert machine.measured == 0


def test_without_another_engine_nothing_is_measured(
    model: Path, cache: Path, machine: Machine
) -> None:
    machine.engines = {"cpu": "1.31.1"}
    with Predictor(model, provider="auto") as predictor:
        assert str(predictor.provider_choice) == "cpu: no other engine is installed"
    assert machine.measured == 0


def test_a_choice_within_noise_is_the_default(model: Path, cache: Path, machine: Machine) -> None:
    machine.times = SLOW
    with Predictor(model, provider="auto") as predictor:
        assert str(predictor.provider_choice) == (
            "cpu: no other engine is faster by more than noise; spare is 0.95 × as fast as cpu"
        )


def test_a_choice_is_measured_once_and_kept(model: Path, cache: Path, machine: Machine) -> None:
    for number in range(3):
        with Predictor(model, provider="auto") as predictor:
            assert predictor.provider == "spare"
            assert predictor.provider_choice is not None
            assert predictor.provider_choice.kept is (number > 0)
    assert machine.measured == 1
    assert len(list(cache.iterdir())) == 1


CHANGES: dict[str, Callable[[Path, Machine, pytest.MonkeyPatch], dict[str, Any]]] = {
    "threads": lambda model, machine, patch: {"threads": 3},
    "spin": lambda model, machine, patch: {"spin": True},
    "versions": lambda model, machine, patch: (
        machine.engines.update(spare="1.9.0"),
        {},
    )[1],
    "processor": lambda model, machine, patch: (
        patch.setattr(choice, "processor", lambda: "another"),
        {},
    )[1],
    "cores": lambda model, machine, patch: (
        patch.setattr(choice, "usable_cores", lambda: 77),
        {"threads": 1},
    )[1],
    "file": lambda model, machine, patch: (
        model.write_bytes(model.read_bytes() + b"\x72\x00"),
        {},
    )[1],
    "references": lambda model, machine, patch: (
        model_with_references(model, images=7),
        {},
    )[1],
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_kept_choice_is_only_for_what_it_was_measured_with(
    what: str, model: Path, cache: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert taken(model, threads=1 if what == "cores" else None) == "spare"
    options = CHANGES[what](model, machine, monkeypatch)
    assert taken(model, **options) == "spare"
    assert machine.measured == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"key": 1}', b"\xff\xfe", None],
)
def test_a_damaged_choice_is_measured_again(
    content: bytes | None, model: Path, cache: Path, machine: Machine
) -> None:
    taken(model)
    [file] = cache.iterdir()
    if content is None:
        kept = file.read_bytes()
        file.write_bytes(kept.replace(b'"provider":"spare"', b'"provider":"other"', 1))
    else:
        file.write_bytes(content)
    assert taken(model) == "spare"
    assert machine.measured == 2
    assert taken(model) == "spare"
    assert machine.measured == 2, "the damaged one was replaced"


def test_a_plugin_that_was_removed_is_not_chosen(
    model: Path, cache: Path, machine: Machine
) -> None:
    assert taken(model) == "spare"
    machine.engines = {"cpu": "1.31.1"}
    assert taken(model) == "cpu"


def test_a_plugin_that_does_not_start_any_more_is_not_chosen(
    model: Path, cache: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert taken(model) == "spare"
    why = {"spare": "its library is gone"}
    monkeypatch.setattr(choice, "_refusal_to_start", why.get)
    with Predictor(model, provider="auto") as predictor:
        assert str(predictor.provider_choice) == (
            "cpu: no other engine starts here: spare, its library is gone"
        )
    monkeypatch.setattr(choice, "_refusal_to_start", lambda name: None)
    assert taken(model) == "spare", "the kept choice holds when the plugin is back"
    assert machine.measured == 1


def test_without_the_cache_it_is_measured_and_not_kept(
    model: Path, cache: Path, machine: Machine
) -> None:
    for _ in range(2):
        assert taken(model, cache=False) == "spare"
    assert machine.measured == 2
    assert not cache.exists()


def test_a_cache_that_can_not_be_written_is_no_error(
    model: Path, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "no folder"
    file.write_text("")
    monkeypatch.setenv("RTL_CACHE_DIR", str(file))
    assert taken(model) == "spare"
    assert machine.measured == 1


def test_a_choice_that_can_not_be_written_is_no_error(
    model: Path, cache: Path, machine: Machine
) -> None:
    """As root may write anywhere, a file in the place of the folder stands for a full disk."""
    cache.parent.mkdir(parents=True, mode=0o700)
    cache.write_text("")
    for _ in range(2):
        assert taken(model) == "spare"
    assert machine.measured == 2


def test_several_at_once_take_the_same(model: Path, cache: Path, machine: Machine) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(taken(model))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["spare"] * 4
    assert len(list(cache.iterdir())) == 1


def test_a_pickled_predictor_chooses_where_it_is_opened(
    model: Path, cache: Path, machine: Machine
) -> None:
    with Predictor(model, provider="auto") as predictor:
        content = pickle.dumps(predictor)
    machine.engines = {"cpu": "1.31.1"}
    with pickle.loads(content) as copy:
        assert copy.provider == "cpu"


def test_many_images_are_predicted_on_the_chosen_engine(
    model: Path, cache: Path, machine: Machine
) -> None:
    image = np.full((9, 9, 3), 200, np.uint8)
    with Predictor(model, provider="auto") as predictor:
        assert len(list(predictor.predict_many([image] * 3))) == 3


def test_old_choices_are_removed(
    model: Path, cache: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolchain.runtime.modelcache.store.MOST_NOTES", 2)
    for threads in (1, 2, 3, 4):
        taken(model, threads=threads)
        time.sleep(0.01)
    assert len(list(cache.iterdir())) == 2


def test_choices_are_no_models_of_the_cache_and_are_cleared_with_them(
    model: Path, cache: Path, machine: Machine
) -> None:
    from toolchain.runtime.modelcache import store

    taken(model)
    assert all(entry.model for entry in store.entries())
    store.clear()
    assert not cache.exists()


def engines_of(**runs: Run | Exception) -> choice.Open:
    """Return an `open_engine` of engines that answer, or fail to open."""

    def open_engine(name: str) -> tuple[Run, Any]:
        run = runs[name.replace("-", "_")]
        if isinstance(run, Exception):
            raise run
        return run, proven_card()

    return open_engine


def off(pixels: Any) -> Any:
    probabilities, logits = answer(pixels)
    return probabilities, logits + np.float32(0.01)


def crashing(pixels: Any) -> Any:
    raise RuntimeError("out of\nmemory" + "x" * 900)


def test_an_engine_with_other_answers_is_refused_with_the_figure(
    model: Path, machine: Machine
) -> None:
    found = measured_choice(["cpu", "spare"], engines_of(cpu=answer, spare=off), model)
    assert found.provider == "cpu"
    assert found.reason.startswith("no other engine is accepted; refused: spare, its logits are")
    spare = found.of("spare")
    assert spare is not None
    assert spare.ratio is None
    assert not spare.failed


@pytest.mark.parametrize(
    ("run", "reason", "failed"),
    [
        (crashing, "out of memory", True),
        (OSError(), "OSError", True),
        (ProviderError("it can't run every layer"), "it can't run every layer", False),
    ],
)
def test_an_engine_that_fails_is_refused_in_one_line(
    run: Any, reason: str, failed: bool, model: Path, machine: Machine
) -> None:
    found = measured_choice(["cpu", "spare"], engines_of(cpu=answer, spare=run), model)
    assert found.provider == "cpu"
    assert reason in found.reason
    assert "\n" not in found.reason
    assert len(found.reason) < 300
    spare = found.of("spare")
    assert spare is not None
    assert spare.failed is failed


def test_a_failure_is_not_kept(
    model: Path, cache: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next process may have the memory that this one lacked."""
    opened = choice._opened
    monkeypatch.setattr(
        choice,
        "_opened",
        lambda file, threads, spin, name: (
            opened(file, threads, spin, name) if name == "cpu" else (crashing, None)
        ),
    )
    assert taken(model) == "cpu"
    monkeypatch.setattr(choice, "_opened", opened)
    assert taken(model) == "spare"


def test_references_that_the_default_does_not_meet_hold_nobody(
    model: Path, machine: Machine
) -> None:
    found = measured_choice(["cpu", "spare"], engines_of(cpu=off, spare=off), model)
    assert found.provider == "cpu"
    assert found.reason.startswith("the references are not met by cpu itself")


def test_a_file_that_the_default_can_not_compute_is_opened_all_the_same(
    model: Path, machine: Machine
) -> None:
    """What is wrong with it is said when it is asked about an image, as with a named provider."""
    found = measured_choice(["cpu", "spare"], engines_of(cpu=crashing, spare=answer), model)
    assert found.provider == "cpu"
    assert "out of memory" in found.reason


def test_an_engine_that_fails_while_it_is_timed_leaves_the_default(
    model: Path, cache: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(calls: object) -> dict[str, Timing]:
        raise MemoryError

    monkeypatch.setattr(choice, "timings", failing)
    with Predictor(model, provider="auto") as predictor:
        assert str(predictor.provider_choice) == (
            "cpu: an engine failed while it was timed (MemoryError)"
        )
    assert not cache.exists(), "the next process may have the memory"


def bfloat16_times(lower_ms: float) -> dict[str, Timing]:
    return {
        "cpu": Timing(20.0, 1.0, 0),
        "openvino": Timing(16.0, 1.25, timing.ROUNDS),
        "openvino-bf16": Timing(lower_ms, 20.0 / lower_ms, timing.ROUNDS),
    }


@pytest.mark.parametrize(
    ("lower_ms", "run", "provider", "reason"),
    [
        (9.0, off, "openvino-bf16", None),
        (64.0, off, "openvino", "it takes 64 ms, float32 takes 16"),
        (9.0, crashing, "openvino", "out of memory"),
        (9.0, lambda p: (answer(p)[0], answer(p)[1] + 1), "openvino", "off by"),
    ],
)
def test_bfloat16_is_accepted_by_answers_and_speed(
    lower_ms: float, run: Any, provider: str, reason: str | None, model: Path, machine: Machine
) -> None:
    machine.times = bfloat16_times(lower_ms)
    found = measured_choice(
        ["cpu", "openvino", "openvino-bf16"],
        engines_of(cpu=answer, openvino=answer, openvino_bf16=run),
        model,
    )
    assert found.provider == provider
    lower = found.of("openvino-bf16")
    assert lower is not None
    if reason is None:
        assert lower.refused is None
    else:
        assert lower.refused is not None
        assert reason in lower.refused


def test_bfloat16_that_is_named_has_to_be_accepted_too(
    model: Path, cache: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.engines = dict.fromkeys(("cpu", "openvino", "openvino-bf16"), "1")
    machine.times = bfloat16_times(64.0)
    opened = choice._opened
    monkeypatch.setattr(
        choice, "_opened", lambda file, threads, spin, name: opened(file, threads, spin, "cpu")
    )
    monkeypatch.setattr(openvino, "require_openvino", lambda provider="openvino": None)
    with pytest.raises(RefusedError) as caught:
        Predictor(model, provider="openvino-bf16")
    assert "openvino-bf16 is refused" in str(caught.value)
    assert "it takes 64 ms, float32 takes 16" in str(caught.value)
    assert caught.value.hint == "--provider openvino"

    def without(provider: str = "openvino") -> None:
        raise ProviderError("this processor has no bfloat16")

    monkeypatch.setattr(openvino, "require_openvino", without)
    with pytest.raises(ProviderError, match="no bfloat16"):
        Predictor(model, provider="openvino-bf16")


def test_the_engines_of_this_installation_begin_with_the_default() -> None:
    assert next(iter(choice.installed_engines())) == "cpu"


def test_a_provider_computes_on_the_processor_by_any_of_its_names() -> None:
    for name in ("cpu", "CPUExecutionProvider", "OpenVINO", "openvino-bf16"):
        assert computes_on_processor(name)
    assert not computes_on_processor("cuda")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_goes_on_with_the_engine(
    model: Path, cache: Path, machine: Machine
) -> None:
    pixels = np.full((1, 8, 8, 3), 200, np.uint8)
    with Predictor(model, provider="auto") as predictor:
        predictor.run(pixels)
        child = os.fork()
        if child == 0:
            machine.engines = {"cpu": "another"}
            same = np.allclose(predictor.run(pixels).logits, answer(pixels)[1], rtol=1e-5)
            os._exit(0 if same and predictor.provider == "spare" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
