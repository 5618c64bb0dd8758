"""The story of `rtl export`: a run folder becomes model files, each proved before it exists."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch

from toolchain.errors import DataError, ParityError
from toolchain.export.onnx import LOWEST_ONNXRUNTIME, OPSET, write_onnx
from toolchain.export.torchscript import write_torchscript
from toolchain.narrator import Narrator, Silent
from toolchain.runfolder import (
    SUFFIXES,
    RunFolder,
    parity_file,
    references_file,
    rejected_file,
    whole_file,
    write_json,
)
from toolchain.runtime.card import Card
from toolchain.runtime.selftest import generated_pixels, make_proof
from toolchain.training.models import Served
from toolchain.verify.backends import EagerBackend, open_backend
from toolchain.verify.references import (
    MOST_BYTES,
    MOST_IMAGES,
    References,
    evenly,
    write_references,
)
from toolchain.verify.verify import (
    Verification,
    Workshop,
    open_workshop,
    outputs,
    pixels_of,
    require_parity,
    verify_backend,
)

Format = Literal["onnx", "torchscript"]
WRITERS: dict[Format, Callable[[Served, Card, Path], None]] = {
    "onnx": write_onnx,
    "torchscript": write_torchscript,
}


@dataclass(frozen=True)
class Exported:
    """One model file that passed verification."""

    path: Path
    format: Format
    bytes: int
    verification: Verification
    seconds: float


def export(
    run_path: str | os.PathLike[str],
    formats: Sequence[Format] = ("onnx",),
    output: str | os.PathLike[str] | None = None,
    *,
    data: str | None = None,
    images: int = 400,
    narrator: Narrator | None = None,
) -> list[Exported]:
    """Export a run to each format; a file that fails verification is not kept.

    `output` is a folder, or for one format a file; by default `export/` in the run folder. Up to
    `images` validation images are compared from their bytes; `data` says where they are if they
    were moved. Raises ParityError when a file does
    not answer like the trained model; its report stays as `…rejected.json`.
    """
    narrator = narrator or Silent()
    run = RunFolder.open(run_path)
    workshop = open_workshop(run, images=images, data=data)
    references = _references(workshop)
    exported = []
    for model_format in formats:
        started = time.monotonic()
        path = _target(run, model_format, formats, output)
        narrator.say(f"exporting {path}")
        card = _card(workshop.eager, model_format)
        served = Served(workshop.eager.classifier, card.temperature, card.task).eval()
        with whole_file(path) as candidate:
            WRITERS[model_format](served, card, candidate)
            result = _verify(candidate, path, references, workshop, narrator)
        write_references(references, references_file(path))
        write_json(parity_file(path), result)
        seconds = time.monotonic() - started
        exported.append(Exported(path, model_format, path.stat().st_size, result, seconds))
    return exported


def _verify(
    candidate: Path, path: Path, references: References, workshop: Workshop, narrator: Narrator
) -> Verification:
    """Verify the candidate as its users will open it; raising here leaves no model file."""
    rejected_file(path).unlink(missing_ok=True)
    result = verify_backend(
        open_backend(candidate),
        candidate,
        references=references,
        workshop=workshop,
        narrator=narrator,
    )
    result = msgspec.structs.replace(result, model=str(path))
    try:
        require_parity(result)
    except ParityError as error:
        write_json(rejected_file(path), result)
        raise ParityError(
            f"{error}; the file was not kept", hint=f"{error.hint}; see {rejected_file(path)}"
        ) from None
    return result


def _target(
    run: RunFolder,
    model_format: Format,
    formats: Sequence[Format],
    output: str | os.PathLike[str] | None,
) -> Path:
    if output is None:
        return run.model_file(model_format)
    path = Path(output)
    if path.suffix in (".onnx", ".pt") and not path.is_dir():
        if len(formats) > 1:
            raise DataError(f"{path} names one file, and {len(formats)} formats were asked for")
        return path
    return path / f"model{SUFFIXES[model_format]}"


def _card(eager: EagerBackend, model_format: Format) -> Card:
    """Complete the run's card with what belongs to this file."""
    _, logits = eager.run(generated_pixels(eager.card.preprocessing.size))
    onnx = model_format == "onnx"
    return msgspec.structs.replace(
        eager.card,
        format=model_format,
        opset=OPSET if onnx else None,
        lowest_onnxruntime=LOWEST_ONNXRUNTIME if onnx else None,
        proof=make_proof(logits),
        versions={**eager.card.versions, "exporter torch": str(torch.__version__)},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _references(workshop: Workshop) -> References:
    names = dict(zip(workshop.paths, workshop.names, strict=True))
    paths = evenly(workshop.paths, MOST_IMAGES)
    pixels = np.stack([pixels_of(workshop.eager, path, names[path]) for path in paths])
    probabilities, logits = outputs(workshop.eager, pixels)
    files = [path.read_bytes() if path.stat().st_size <= MOST_BYTES else b"" for path in paths]
    classes = workshop.eager.card.classes
    return References(
        classes, tuple(names[path] for path in paths), tuple(files), pixels, probabilities, logits
    )
