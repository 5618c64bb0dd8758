"""`provider="auto"`: the fastest engine here among those that answer as a file's references say.

Every engine that is installed is opened and held to the references (`acceptance.py`), those that
are accepted are timed in turn (`timing.py`), and the choice is kept (`kept.py`). onnxruntime on the
CPU is the default: another engine is taken only where it is faster by more than noise.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from toolchain.errors import RefusedError, ToolchainError
from toolchain.runtime.card import OUTPUT_NAMES, Card
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.engines import openvino
from toolchain.runtime.engines.acceptance import References, Run, references_of, refusal
from toolchain.runtime.engines.kept import (
    ChoiceKey,
    Choices,
    EngineChoice,
    MeasuredEngine,
    references_state,
)
from toolchain.runtime.engines.timing import LEAST_RATIO, Timing, fastest, timings
from toolchain.runtime.model_inputs import run_on_pixels
from toolchain.runtime.modelcache.cache import processor
from toolchain.runtime.modelfile import ModelFile
from toolchain.runtime.onnxruntime_import import import_onnxruntime
from toolchain.runtime.provider_names import (
    BFLOAT16,
    FLOAT32,
    SHORT_NAMES,
    in_bfloat16,
    is_openvino,
)
from toolchain.runtime.session import open_session, session_card

CPU = "cpu"
COMPILED_IN = ("cuda", "directml", "coreml")
"""Providers that are candidates where onnxruntime has them. TensorRT is none: it compiles for
minutes."""
MOST_REASON = 200
logger = logging.getLogger(__name__)

Open = Callable[[str], tuple[Run, Card]]
"""Opens the model file on a provider."""


def choose_engine(file: ModelFile, *, threads: int | None, spin: bool, cache: bool) -> EngineChoice:
    """Return the engine for a model file: a kept choice, or what is measured now and kept.

    With `cache=False` it is measured, and not kept. Raises what opening the file on the CPU raises.
    """
    installed = installed_engines()
    if set(installed) == {CPU}:
        return EngineChoice(CPU, "no other engine is installed")
    choices, key = _choices(file, installed, threads, spin) if cache else (None, None)
    if choices is not None and key is not None:
        kept = choices.get(key)
        if kept is not None and _refusal_to_start(kept.provider) is None:
            return kept
    unable = {name: why for name in installed if (why := _refusal_to_start(name)) is not None}
    names = [name for name in installed if name not in unable]
    if names == [CPU]:
        # Not kept: it takes no time to find, and a plugin may be repaired.
        return EngineChoice(CPU, f"no other engine starts here: {_listed(unable)}")
    choice = measured_choice(names, partial(_opened, file, threads, spin), file.path, unable)
    logger.info("provider %s", choice)
    if choices is not None and key is not None and not any(e.failed for e in choice.engines):
        choices.keep(key, choice)
    return choice


def require_accepted(
    provider: str, file: ModelFile, *, threads: int | None, spin: bool, cache: bool
) -> None:
    """Raise RefusedError where a provider that rounds every layer is not accepted for a file.

    It is held to the rules of an int8 file: labels and logits of the reference images, and speed.
    """
    choice = choose_engine(file, threads=threads, spin=spin, cache=cache)
    found = choice.of(provider)
    if found is None or found.refused is not None:
        reason = choice.reason if found is None else found.refused
        raise RefusedError(
            f"{provider} is refused for {file.name}: {reason}", hint="--provider openvino"
        )


def installed_engines() -> dict[str, str]:
    """Return the engines that can be tried here, with their versions; the CPU provider first."""
    ort = import_onnxruntime()
    found = {CPU: ort.__version__}
    if importlib.util.find_spec(openvino.MODULE) is not None:
        try:
            version = importlib.metadata.version("onnxruntime-ep-openvino")
        except importlib.metadata.PackageNotFoundError:
            version = "unknown"
        found |= dict.fromkeys((FLOAT32, BFLOAT16), version)
    available = ort.get_available_providers()
    return found | {name: ort.__version__ for name in COMPILED_IN if SHORT_NAMES[name] in available}


def measured_choice(
    names: list[str], open_engine: Open, path: Path, unable: Mapping[str, str] | None = None
) -> EngineChoice:
    """Return the choice among engines, the first of which is the default, by measuring them.

    `path` is the model file, beside which its reference outputs may lie; `unable` says of further
    engines why they do not start. Raises what opening the default raises; another engine that fails
    in any way is refused.
    """
    default = names[0]
    run, card = open_engine(default)
    references = references_of(path, card)
    if references is None:
        return EngineChoice(default, "the file has no references to hold another engine to")
    refused, _ = _attempted(lambda: _refusal(references, run, default))
    if refused is not None:
        return EngineChoice(default, f"the references are not met by {default} itself ({refused})")
    runs, refusals, failed = {default: run}, dict(unable or {}), set()

    def other_engine(name: str) -> str | None:
        runs[name], _ = open_engine(name)
        return _refusal(references, runs[name], name)

    for name in names[1:]:
        reason, broke = _attempted(partial(other_engine, name))
        if reason is not None:
            runs.pop(name, None)
            refusals[name] = reason
        if broke:
            failed.add(name)
    one = references.pixels[: card.batch or 1]
    try:
        times = timings({name: partial(run, one) for name, run in runs.items()})
    except Exception as error:  # an engine may end at any call, by lack of memory for example
        reason = f"an engine failed while it was timed ({_one_line(error)})"
        return EngineChoice(default, reason, (MeasuredEngine(default, None, failed=True),))
    _refuse_slow_rounding(times, refusals)
    engines = tuple(
        MeasuredEngine(
            name,
            refusals.get(name),
            latency_ms=times[name].latency_ms if name in times else None,
            ratio=times[name].ratio if name in times else None,
            failed=name in failed,
        )
        for name in (*names, *(unable or ()))
    )
    taken = fastest({name: time for name, time in times.items() if name not in refusals})
    return EngineChoice(taken, _reason(taken, engines[: len(names)], references), engines)


def _choices(
    file: ModelFile, installed: Mapping[str, str], threads: int | None, spin: bool
) -> tuple[Choices | None, ChoiceKey | None]:
    """Return where choices are kept and the key of this one; None where they can't be kept."""
    cores = usable_cores()
    try:
        choices = Choices()
        key = ChoiceKey(
            model_sha256=choices.sha256(file),
            references=references_state(file.path),
            engines=tuple(installed.items()),
            processor=processor(),
            cores=cores,
            threads=threads or cores,
            spin=spin,
        )
    except OSError:
        return None, None
    return choices, key


def _refusal_to_start(provider: str) -> str | None:
    """Return why a plugin's engine can't be opened at all; None where it can."""
    try:
        if is_openvino(provider):
            openvino.require_openvino(provider)
    except ToolchainError as error:
        return str(error)
    return None


def _opened(file: ModelFile, threads: int | None, spin: bool, provider: str) -> tuple[Run, Card]:
    """Open a model file on a provider, without the model cache."""
    session = open_session(file.path, provider=provider, threads=threads, spin=spin)
    card = session_card(session, file.name)

    def compute(graph_input: Any) -> list[Any]:
        outputs: list[Any] = session.run(OUTPUT_NAMES, {card.input: graph_input})
        return outputs

    def run(pixels: Any) -> tuple[Any, Any]:
        probabilities, logits = run_on_pixels(compute, pixels, card)
        return probabilities, logits

    return run, card


def _refusal(references: References, run: Run, name: str) -> str | None:
    rounded = in_bfloat16(name)
    if rounded and references.card.precision == "int8":
        return "the file is in int8, which is faster"
    return refusal(references, run, rounded=rounded)


def _attempted(compare: Callable[[], str | None]) -> tuple[str | None, bool]:
    """Return why an engine is refused, and whether that is an error of its own."""
    try:
        return compare(), False
    except ToolchainError as error:
        return str(error), False
    except Exception as error:  # whatever an engine does, there is another one
        return _one_line(error), True


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:MOST_REASON] or type(error).__name__


def _refuse_slow_rounding(times: Mapping[str, Timing], refusals: dict[str, str]) -> None:
    """Refuse bfloat16 where it is no faster than float32 in the same engine, or on the CPU."""
    lower, exact = times.get(BFLOAT16), times.get(FLOAT32, next(iter(times.values())))
    if lower is not None and lower.ratio <= exact.ratio * LEAST_RATIO:
        refusals[BFLOAT16] = (
            f"it takes {lower.latency_ms:.3g} ms, float32 takes {exact.latency_ms:.3g}"
        )


def _reason(taken: str, engines: Sequence[MeasuredEngine], references: References) -> str:
    """Return why an engine was taken and the others were not, in one line."""
    default, *others = engines
    slower = [e for e in others if e.refused is None and e.provider != taken]
    beside = [f"{e.provider} is {e.ratio:.2f} × as fast as {default.provider}" for e in slower]
    refusals = {e.provider: e.refused for e in others if e.refused is not None}
    if refusals:
        beside.append(f"refused: {_listed(refusals)}")
    if taken != default.provider:
        ratio = next(e.ratio for e in others if e.provider == taken)
        reason = f"{ratio:.2f} × as fast as {default.provider}, same answers for {references}"
    elif slower:
        reason = "no other engine is faster by more than noise"
    else:
        reason = "no other engine is accepted"
    return "; ".join([reason, *beside])


def _listed(refusals: Mapping[str, str]) -> str:
    """Return engines with the reasons why they are not taken; equal reasons once."""
    names: dict[str, list[str]] = {}
    for name, reason in refusals.items():
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(same)}, {reason}" for reason, same in names.items())
