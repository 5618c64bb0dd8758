"""The model file that is adapted: opened, and refused where it is of a kind that can't be."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolchain.adaptation.classifier import EXPORT_HINT, Classifier, Doubles, find_classifier
from toolchain.adaptation.features import FeatureModel
from toolchain.backends.onnxruntime import open_onnx
from toolchain.errors import ModelFileError, SettingsError
from toolchain.files import file_sha256, require_writable
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import Floats
from toolchain.runtime.onnxfile.metadata import card_text
from toolchain.runtime.onnxfile.stored_weights import stored_precision
from toolchain.runtime.selftest import generated_pixels
from toolchain.runtime.session import card_of
from toolchain.verification.levels.numbers import compare_numbers

SUFFIX = ".adapted"


@dataclass(frozen=True, eq=False)
class Original:
    """A model file whose last layer is known."""

    path: Path
    data: bytes
    sha256: str
    card: Card
    classifier: Classifier
    graph: FeatureModel
    weight: Doubles
    """[classes, features]."""
    bias: Doubles
    """[classes]."""


def open_original(path: Path) -> Original:
    """Open an ONNX file in fp32 whose classes exclude each other.

    Raises ModelFileError for a file of another kind and for one that was adapted already.
    """
    if zipfile.is_zipfile(path):
        raise ModelFileError(
            f"{path} can't be adapted: it is a file of torch, not an ONNX file", hint=EXPORT_HINT
        )
    with open_onnx(path) as predictor:  # scans the file before anything opens it
        card = predictor.card
        _require_kind(path, card)
        data = path.read_bytes()
        classifier = find_classifier(data, path)
        graph = FeatureModel(data, classifier, card)
        weight, bias = classifier.read(data)
        _require_understood(path, graph, weight, bias, predictor.run(_pixels(card)).logits)
    return Original(path, data, file_sha256(path), card, classifier, graph, weight, bias)


def destination(original: Path, output: str | os.PathLike[str] | None) -> Path:
    """Return the path of the new file; by default it is named after the original, beside it.

    Raises SettingsError where it would replace the original or another file that was not adapted,
    or has another suffix, DataError where it can't be written.
    """
    if output is None:
        path = original.with_name(f"{original.stem}{SUFFIX}{original.suffix}")
    else:
        path = Path(output)
        path = path / f"{original.stem}{SUFFIX}{original.suffix}" if path.is_dir() else path
    if path.suffix.lower() != original.suffix.lower():
        raise SettingsError(
            f"{path} has not the suffix {original.suffix} of the file that is adapted",
            hint=f"-o {path.with_suffix(original.suffix)}",
        )
    if path.exists() and path.samefile(original):
        raise SettingsError(
            f"{path} is the file that is adapted; it is kept as it is", hint="choose another -o"
        )
    if path.exists() and not _was_adapted(path):
        raise SettingsError(
            f"{path} exists and is no adapted model; it is kept as it is",
            hint="choose another -o, or remove it",
        )
    require_writable(path)
    return path


def _was_adapted(path: Path) -> bool:
    """Return whether a file is one that was adapted, from any model and to any photographs."""
    try:
        return card_of(card_text(path), os.fspath(path)).adapted is not None
    except ModelFileError:
        return False


def _require_kind(path: Path, card: Card) -> None:
    if card.adapted is not None:
        raise ModelFileError(
            f"{path} was adapted already, to {card.adapted.target_images} photographs",
            hint="adapt the file that it was made from; its sha256 begins with "
            f"{card.adapted.from_sha256[:16]}",
        )
    precision = card.precision if card.precision != "fp32" else stored_precision(path)
    if precision != "fp32":
        raise ModelFileError(f"{path} can't be adapted: it is in {precision}", hint=EXPORT_HINT)
    if card.task == "multi-label":
        raise ModelFileError(
            f"{path} can't be adapted: it gives an image any number of labels",
            hint="whether adapting helps is known for models that give one label only",
        )


def _pixels(card: Card) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return generated_pixels(card.preprocessing.size)


def _require_understood(
    path: Path, graph: FeatureModel, weight: Doubles, bias: Doubles, logits: Floats
) -> None:
    """Raise ModelFileError where the last layer is not features · weightᵀ + bias."""
    computed = (graph.run(_pixels(graph.card)) @ weight.T + bias).astype(np.float32)
    if computed.shape != logits.shape or not compare_numbers(logits, computed).passed:
        raise ModelFileError(
            f"{path} can't be adapted: its logits do not follow from its last layer",
            hint=EXPORT_HINT,
        )
