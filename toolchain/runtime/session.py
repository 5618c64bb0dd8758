"""An onnxruntime session on exactly the provider that was asked for, or an error."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.errors import ModelFileError, ProviderError, shortened
from toolchain.files import A_URL, DOWNLOAD, as_url
from toolchain.runtime.card import CARD_KEY, Card, decode_card
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.modelcache.cache import engine_of
from toolchain.runtime.not_a_model import folder_error, other_file_error
from toolchain.runtime.onnxruntime_import import import_onnxruntime, load_cuda_libraries
from toolchain.runtime.provider_names import (
    OPENVINO,
    SHORT_NAMES,
    is_cuda,
    is_openvino,
    short_name,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from toolchain.runtime.modelfile import ModelFile
    from toolchain.runtime.onnxfile.scan import ModelScan

OPTIMISATIONS = {
    "none": "DISABLE_ALL",
    "basic": "ENABLE_BASIC",
    "extended": "ENABLE_EXTENDED",
    "all": "ENABLE_ALL",
}
"""How far onnxruntime may optimise the graph: rtl's name → the suffix of onnxruntime's."""
TORCH_SUFFIXES = (".pt", ".pth", ".ts", ".pt2")
# Some messages of onnxruntime begin with a place in its own source.
SOURCE_LOCATION = re.compile(r"^/\S+:\d+ .*?\) (?=[A-Z])")
MAX_REASON_LENGTH = 200
"""Characters of an onnxruntime message that are shown: it may quote names of any length."""
LOG_FATAL = 4  # onnxruntime's highest log level; errors come back as exceptions all the same


def open_session(
    model: str | os.PathLike[str],
    *,
    provider: str = "cpu",
    threads: int | None = None,
    spin: bool = False,
    cache: bool | Path = False,
    optimisation: str = "all",
    profile: Path | None = None,
    file: ModelFile | None = None,
) -> InferenceSession:
    """Return a session of a model file that `checked_scan` has accepted.

    `provider` is a short name (cpu, cuda, …) or onnxruntime's own; `threads` are the intra-op
    threads, by default the cores this process may use; with `spin` they wait for work in a busy
    loop. `cache` uses the model cache (`modelcache/cache.py`) where it applies: on the CPU, with
    `optimisation="all"` and no profile; a path replaces the user's cache folder. `optimisation` is
    a key of OPTIMISATIONS; `profile` is the beginning of the path of a profile. `file` is the model
    file where the caller has it open: an entry of the cache is then used only for its digest, where
    that is known, and the digest that the cache has noted is added to it.

    Raises ModelFileError for a file that is not a model or has another model's card, ProviderError
    where the provider is missing or can't run every node, and MissingExtraError without
    onnxruntime.
    """
    import_onnxruntime()
    if is_cuda(provider):
        load_cuda_libraries()
    name = provider_name(provider)
    path = existing_model(model)

    def options() -> Any:
        made = _options(name, threads, spin, optimisation, profile)
        if name == OPENVINO:
            from toolchain.runtime.engines import openvino

            openvino.add_openvino(made, provider, threads)
        return made

    def open_file(file: Path, file_options: Any) -> InferenceSession:
        return _opened(file, file_options, provider=provider, name=name)

    cached = cache and name == SHORT_NAMES["cpu"] and optimisation == "all" and profile is None
    engine = engine_of(path, cache if isinstance(cache, Path) else None) if cached else None
    if engine is not None and file is not None:
        file.sha256 = file.sha256 or engine.key.model_sha256
        if file.sha256 != engine.key.model_sha256:
            engine = None  # the cache's note on this file is wrong
    # An entry was made from these very bytes, after they had been scanned: no need to do it again.
    session = engine.open_kept(options, open_file) if engine else None
    if session is not None and _has_the_card_of(session, path):
        return session
    scan = checked_scan(path)
    if name == OPENVINO and scan.card is not None:
        from toolchain.runtime.engines import openvino

        openvino.require_computable(decode_card(scan.card, source=str(path)).input, path)
    if engine is None or scan.card is None:
        return open_file(path, options())
    return engine.open_and_keep(options, open_file)


def _options(
    name: str, threads: int | None, spin: bool, optimisation: str, profile: Path | None
) -> Any:
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.log_severity_level = LOG_FATAL
    level = f"ORT_{OPTIMISATIONS[optimisation]}"
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    # Otherwise the file's name or first bytes could select another format, which was not scanned.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if name != SHORT_NAMES["cpu"]:
        # Without this, nodes that the provider can't run go to the CPU silently.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    return options


def _opened(path: Path, options: Any, *, provider: str, name: str) -> InferenceSession:
    try:
        # Without `enable_fallback=0` onnxruntime prints a failure and tries again on the CPU.
        session = import_onnxruntime().InferenceSession(
            str(path), options, providers=_named_providers(name), enable_fallback=0
        )
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise _session_error(path, name, str(error)) from error
    if session.get_providers()[0] != name:
        raise ProviderError(
            f"{provider} was asked for, onnxruntime opened {session.get_providers()[0]}",
            hint="rtl doctor shows what is wrong with the provider",
        )
    return session


def _named_providers(name: str) -> list[str] | None:
    """Return the providers to name; OpenVINO's device is in the session's options already."""
    return None if name == OPENVINO else [name]


def provider_name(provider: str) -> str:
    """Return onnxruntime's name of a provider, given by either name in any case.

    Raises ProviderError where this installation does not have it, and MissingExtraError where it
    is a plugin that is not installed.
    """
    if is_openvino(provider):
        # Imported here and above, because other providers must not pay for it.
        from toolchain.runtime.engines import openvino

        openvino.require_openvino(provider)
        return OPENVINO
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


def existing_model(model: str | os.PathLike[str]) -> Path:
    """Return the path of a regular file. Raises ModelFileError where it is none."""
    path = Path(model)
    name = shortened(os.fspath(model))
    if not name:  # Path("") is the current folder
        raise ModelFileError("(empty path): no such file")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise _no_such_file(path, name) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ModelFileError(f"{name} can't be opened: {(reason or '?').lower()}") from error
    if stat.S_ISDIR(mode):
        raise folder_error(path)
    if not stat.S_ISREG(mode):
        raise ModelFileError(f"{name} is a pipe or device, not a model file")
    return path


def _no_such_file(path: Path, name: str) -> ModelFileError:
    if url := as_url(path):
        return ModelFileError(f"{shortened(url)}: {A_URL}", hint=DOWNLOAD)
    return ModelFileError(f"{name}: no such file")


def _has_the_card_of(session: InferenceSession, path: Path) -> bool:
    """Return whether an entry of the model cache has the card that is in the model file."""
    from toolchain.runtime.onnxfile.metadata import card_text

    text = card_text(path)
    return text is not None and text == session.get_modelmeta().custom_metadata_map.get(CARD_KEY)


def session_card(session: InferenceSession, model: str | os.PathLike[str]) -> Card:
    """Return the card inside an open model. Raises ModelFileError where there is none.

    Whether it describes the graph was checked when the model was opened.
    """
    return card_of(session.get_modelmeta().custom_metadata_map.get(CARD_KEY), os.fspath(model))


def card_of(text: str | None, source: str) -> Card:
    """Return the card in a text. Raises ModelFileError for None, or a text that is no card."""
    if text is None:
        raise ModelFileError(
            f"{source} has no rtl card: it was not exported by rtl",
            hint="rtl export RUN --format onnx makes a file with one",
        )
    return decode_card(text, source=source)


def checked_scan(path: Path) -> ModelScan:
    """Return the scan of an ONNX file that onnxruntime may open, after comparing its card to it.

    Raises ModelFileError for a file that is not safe to open, and for a card that does not describe
    the graph.
    """
    # Imported here, because opening an entry of the model cache does not need them.
    from toolchain.runtime.onnxfile.card_match import require_belonging
    from toolchain.runtime.onnxfile.scan import scan_model

    try:
        scan = scan_model(path)
    except ModelFileError as error:
        if other := other_file_error(path):
            raise other from error
        if path.suffix in TORCH_SUFFIXES:
            raise _no_onnx_file(path) from error
        raise
    if scan.card is not None:
        require_belonging(decode_card(scan.card, source=str(path)), scan, str(path))
    return scan


def _no_onnx_file(path: Path) -> ModelFileError:
    """Return the error for a file with a suffix of torch's formats, which may be whole or not."""
    from zipfile import is_zipfile

    opens = "the predictor opens what --format onnx writes"
    damaged = "" if is_zipfile(path) else "; where torch should open it, it is truncated or damaged"
    return ModelFileError(f"{path} is not an ONNX file", hint=opens + damaged)


def _session_error(path: Path, provider: str, message: str) -> ModelFileError | ProviderError:
    if "fallback to CPU EP has been explicitly disabled" in message:
        return ProviderError(
            f"{short_name(provider)} can't run every layer of {path}; the rest would run on the CPU"
        )
    if "EP" in message and "rotobuf" not in message and provider != SHORT_NAMES["cpu"]:
        lines = [line for line in message.splitlines() if line.strip()]
        # OpenVINO's messages begin with places in its source and end with the reason.
        reason = lines[-1] if provider == OPENVINO else lines[0]
        return ProviderError(f"{short_name(provider)} failed to start: {reason}")
    version = import_onnxruntime().__version__
    return ModelFileError(
        f"{path} can't be opened: {readable_reason(message)}",
        hint=f"this is onnxruntime {version}; a newer one may know it, or export the model again",
    )


def readable_reason(message: str) -> str:
    """Return the relevant part of an onnxruntime message in one line.

    It may quote texts of the file, so characters that can't be printed are replaced.
    """
    reason = message.split(" : ", 3)[-1] if message.startswith("[ONNX") else message
    for before in (" failed:", ", Error ", "guarantee backward compatibility."):
        reason = reason.split(before, 1)[-1]
    reason = SOURCE_LOCATION.sub("", reason.strip())
    shown = "".join(
        letter if letter.isprintable() else " " for letter in reason[:MAX_REASON_LENGTH]
    )
    return (shown.strip() or "no reason given") + ("…" if len(reason) > MAX_REASON_LENGTH else "")
