"""An onnxruntime session on exactly the provider that was asked for, or an error."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.errors import MissingExtraError, ModelFileError, ProviderError
from toolchain.runtime.card import CARD_KEY, Card, decode_card
from toolchain.runtime.cores import usable_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SHORT_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
OPTIMISATIONS = {
    "none": "DISABLE_ALL",
    "basic": "ENABLE_BASIC",
    "extended": "ENABLE_EXTENDED",
    "all": "ENABLE_ALL",
}
"""How far onnxruntime may rewrite the graph, and its own names for it."""
# onnxruntime puts the place in its own source in front of some messages.
SOURCE_LOCATION = re.compile(r"^/\S+:\d+ .*?\) (?=[A-Z])")
SILENT = 4  # onnxruntime's log level "fatal": what goes wrong comes back as our own error


def open_session(
    model: str | os.PathLike[str],
    *,
    provider: str = "cpu",
    threads: int | None = None,
    optimisation: str = "all",
    profile: Path | None = None,
) -> InferenceSession:
    """Open a model file.

    `provider` is a short name (cpu, cuda, …) or onnxruntime's own; `threads` are the intra-op
    threads, by default the cores this process may use; `optimisation` is one of OPTIMISATIONS;
    `profile` is the beginning of the path of a profile. Raises ModelFileError for a file that is
    not a model, ProviderError where the provider is missing or can't run every node, and
    MissingExtraError without onnxruntime.
    """
    ort = import_onnxruntime()
    name = provider_name(provider)
    path = existing_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.log_severity_level = SILENT
    level = f"ORT_{OPTIMISATIONS[optimisation]}"
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if name != SHORT_NAMES["cpu"]:
        # Without this, nodes that the provider can't run go to the CPU and nobody is told.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = ort.InferenceSession(str(path), options, providers=[name])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise _session_error(path, name, str(error)) from error
    if session.get_providers()[0] != name:
        raise ProviderError(
            f"{provider} was asked for, onnxruntime opened {session.get_providers()[0]}",
            hint="rtl doctor shows what is wrong with the provider",
        )
    return session


def import_onnxruntime() -> Any:
    """Give the module onnxruntime, or raise MissingExtraError with the command that installs it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "cpu") from error
    return onnxruntime


def provider_name(provider: str) -> str:
    """Give onnxruntime's name of a provider that this installation has; else ProviderError."""
    available: list[str] = import_onnxruntime().get_available_providers()
    by_lower = {name.lower(): name for name in available}
    wanted = SHORT_NAMES.get(provider.lower(), provider)
    if wanted.lower() in by_lower:
        return by_lower[wanted.lower()]
    known = ", ".join(short_name(name) for name in available)
    extra = "gpu" if wanted == SHORT_NAMES["cuda"] else None
    raise ProviderError(
        f"provider '{provider}' is not available; this onnxruntime has: {known}",
        hint=f'pip install "rtl-toolchain[{extra}]" in an environment without the extra `cpu`'
        if extra
        else f"--provider {known.split(', ')[-1]}",
    )


def short_name(name: str) -> str:
    """Give the short name of an onnxruntime provider where it has one."""
    return {full: short for short, full in SHORT_NAMES.items()}.get(name, name)


def existing_model(model: str | os.PathLike[str]) -> Path:
    """Give the path of a model file that exists; else ModelFileError."""
    path = Path(model)
    if path.is_dir():
        raise ModelFileError(
            f"{path} is a folder, not a model file", hint=f"rtl export {path} --format onnx"
        )
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file")
    return path


def session_card(session: InferenceSession, model: str | os.PathLike[str]) -> Card:
    """Give the card inside an open model; ModelFileError where there is none."""
    text = session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
    if text is None:
        raise ModelFileError(
            f"{os.fspath(model)} has no rtl card: it was not exported by rtl",
            hint="rtl export RUN --format onnx makes a file with one",
        )
    card = decode_card(text, source=os.fspath(model))
    inputs = [given.name for given in session.get_inputs()]
    if inputs != [card.input]:
        raise ModelFileError(
            f"the card of {os.fspath(model)} says that it takes '{card.input}', "
            f"its graph takes {', '.join(inputs) or 'nothing'}",
            hint="the card does not belong to this model; export it again",
        )
    outputs = {output.name: output.shape for output in session.get_outputs()}
    for name in ("probabilities", "logits"):
        if name not in outputs or outputs[name][-1] != len(card.classes):
            raise ModelFileError(
                f"the card of {os.fspath(model)} names {len(card.classes)} classes, "
                f"its output '{name}' is {outputs.get(name, 'missing')}",
                hint="the card does not belong to this model; export it again",
            )
    return card


def _session_error(path: Path, provider: str, message: str) -> ModelFileError | ProviderError:
    if "fallback to CPU EP has been explicitly disabled" in message:
        return ProviderError(
            f"{short_name(provider)} can't run every layer of {path}; the rest would run on the CPU"
        )
    if path.suffix in (".pt", ".pth", ".ts"):
        return ModelFileError(
            f"{path} is not an ONNX file", hint="the predictor opens what --format onnx writes"
        )
    if "EP" in message and "rotobuf" not in message and provider != SHORT_NAMES["cpu"]:
        return ProviderError(f"{short_name(provider)} failed to start: {message.splitlines()[0]}")
    reason = message.split(" : ")[-1].replace(f"Load model from {path} failed:", "").strip()
    reason = SOURCE_LOCATION.sub("", reason)
    return ModelFileError(
        f"{path} can't be opened: {reason.splitlines()[0] if reason else 'no reason given'}",
        hint="it is truncated, damaged or no ONNX file; copy or export it again",
    )
