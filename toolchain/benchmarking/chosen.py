"""Which targets a benchmark has: the files that were named, those of run folders, torch eager."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from toolchain.benchmarking.processes.targets import Target
from toolchain.errors import ModelFileError, SettingsError
from toolchain.files import is_folder
from toolchain.printable import shell_words
from toolchain.runs.runfolder import RunFolder, run_of_model
from toolchain.runtime.provider_names import AUTO, is_openvino

EAGER = "torch eager"


def chosen_targets(
    models: Sequence[str | os.PathLike[str]],
    providers: Sequence[str],
    threads: Sequence[int],
    eager: bool | None,
    *,
    spin: bool = False,
    reference: Path | None = None,
) -> list[Target]:
    """Return the targets of each number of threads and provider, torch eager first.

    OpenVINO and the automatic choice are onnxruntime's alone: torch eager is measured beside them
    where another provider is named too. With `spin` each ONNX file is a second target too, whose
    threads wait in a busy loop.

    A run folder stands for all files in its export/. `eager` adds the trained model of each run;
    None does where a run is known and torch is installed. Raises ModelFileError for a run without
    exports, and where torch eager is asked for and no run is known. `reference` is a file that the
    others are put beside, the last target of each; SettingsError where it is one of them.
    """
    of_run = {file: is_folder(m) for m in reversed(models) for file in _model_files(Path(m))}
    paths = list(dict.fromkeys(file for model in models for file in _model_files(Path(model))))
    runs = list({run.path: run for path in paths if (run := run_of_model(path))}.values())
    of_torch = [provider for provider in providers if torch_may_have(provider)]
    if eager and not of_torch:
        of_torch = list(providers)  # opening it says that torch does not have them
    if eager is None:
        eager = bool(runs) and importlib.util.find_spec("torch") is not None
    if eager and not runs:
        raise ModelFileError(
            f"torch eager needs the run folder, and {paths[0]} does not lie in one",
            hint="leave --eager away, or give the file in RUN/export",
        )
    eager_names = distinct_names([run.path for run in runs])
    if reference is not None:
        _require_another(reference, paths)
        paths.append(reference)
    names = distinct_names(paths)
    targets = []
    for count in threads:
        for provider in providers:
            for run, name in zip(
                runs if eager and provider in of_torch else [], eager_names, strict=False
            ):
                shown = EAGER if len(runs) == 1 else f"{EAGER} {name}"
                targets.append(Target(shown, run.path, True, provider, count))
            targets += [
                Target(
                    *(name, path, False, provider, count, spins),
                    of_run=of_run.get(path, False),
                    is_reference=path == reference,
                )
                for name, path in zip(names, paths, strict=True)
                for spins in ((False, True) if spin and path.suffix == ".onnx" else (False,))
            ]
    return targets


def torch_may_have(provider: str) -> bool:
    """Return whether a provider's name may be one of a device of torch."""
    return provider.lower() != AUTO and not is_openvino(provider)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the paths as short as they differ: their last parts, as many as all of them need.

    >>> distinct_names([Path("a/export/model.onnx"), Path("b/export/model.onnx")])
    ['a/export/model.onnx', 'b/export/model.onnx']
    >>> distinct_names([Path("a/model.onnx"), Path("a/model.int8.onnx")])
    ['model.onnx', 'model.int8.onnx']
    """
    longest = max((len(path.parts) for path in paths), default=1)
    for count in range(1, longest):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _require_another(reference: Path, paths: Sequence[Path]) -> None:
    if reference.resolve() in {path.resolve() for path in paths}:
        raise SettingsError(
            f"{reference} is one of the models that are to be put beside it",
            hint="name the other file alone, or a copy of it",
        )


def _model_files(path: Path) -> list[Path]:
    """Return a model file itself, or all model files of a run folder."""
    if not is_folder(path):
        return [path]
    run = RunFolder.open(path)
    files = run.exported_files()
    if not files:
        raise ModelFileError(
            f"{path} holds no exported model", hint=shell_words("rtl", "export", path)
        )
    return files
