"""`rtl adapt`: fit a model file to the photographs of another camera, where that helps."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from toolchain.adaptation.distinct import distinct
from toolchain.adaptation.gate import Judgement, judge, least_images
from toolchain.adaptation.original import Original, destination, open_original
from toolchain.adaptation.result import Adapted
from toolchain.adaptation.source_features import SourceFeatures
from toolchain.adaptation.source_images import source_of
from toolchain.adaptation.target import TargetImages, fingerprint, read_target
from toolchain.adaptation.writing import write_adapted
from toolchain.backends.run_model import exported_file
from toolchain.display import counted
from toolchain.errors import DataError, ImageError, RefusedError
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runtime.card import Adaptation
from toolchain.runtime.model_inputs import Floats
from toolchain.runtime.session import existing_model

MOST_IMAGES = 1000


def adapt(
    model: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    source: str | None = None,
    images: int = MOST_IMAGES,
    output: str | os.PathLike[str] | None = None,
    progress: ProgressReporter | None = None,
) -> Adapted:
    """Fit an ONNX file in fp32 to up to `images` photographs in the folder `to`; needs no torch.

    Of a run folder the file that was exported from it is fitted. `source` is a folder of training
    images, where their features are not stored beside the model. The new file goes to `output`, by
    default beside the model. The model itself is only read.

    Raises RefusedError, whose `result` is an Adapted, where it would not help; ModelFileError for a
    file that can't be adapted, DataError for folders that can't be used or hold too few readable
    images, and ParityError where the new file does not compute what it should.
    """
    progress, started = progress or SilentReporter(), time.monotonic()
    file = existing_model(exported_file(model))
    if file != Path(model):
        progress.message(f"adapting {file}")
    path = destination(file, output)
    original = open_original(file)
    target = read_target(os.fspath(to), original.card.classes, images)
    known = source_of(original, source, progress)
    features, unreadable = _target_features(original, target, progress)
    features = _different(features, known, target, len(original.card.classes), progress)
    judgement = _judged(original, known, target, features)
    result = Adapted(
        model=str(original.path),
        sha256=original.sha256,
        target=str(target.root),
        found=target.found,
        unreadable=tuple(unreadable),
        left_out=target.left_out,
        source_images=len(known),
        figures=judgement.figures,
        accepted=judgement.refused is None,
        reason=judgement.refused,
        output=None,
        verification=None,
        seconds=round(time.monotonic() - started, 3),
    )
    if judgement.refused is not None:
        raise _refused(result)
    adaptation = Adaptation(
        from_sha256=original.sha256,
        target_sha256=fingerprint(list(features)),
        target_images=len(features),
        source_images=len(known),
    )
    bias = original.bias + judgement.shift
    names = {image: image.relative_to(target.root).as_posix() for image in features}
    return msgspec.structs.replace(
        result,
        output=str(path),
        verification=write_adapted(
            original, original.weight, bias, adaptation, names, path, progress
        ),
        seconds=round(time.monotonic() - started, 3),
    )


def _judged(
    original: Original,
    known: SourceFeatures,
    target: TargetImages,
    features: Mapping[Path, Floats],
) -> Judgement:
    """Return whether the head that is fitted to the target's features is better, and its shift."""
    labels = [target.labels.get(image) for image in features]
    return judge(
        _logits(original, known.features),
        known.labels,
        _logits(original, np.stack(list(features.values()))),
        original.card.classes,
        {number: label for number, label in enumerate(labels) if label is not None},
    )


def _target_features(
    original: Original, target: TargetImages, progress: ProgressReporter
) -> tuple[Mapping[Path, Floats], list[str]]:
    """Return (features of the images that can be read, in their order, the names of the others).

    Raises DataError where fewer are left than are needed.
    """
    features: dict[Path, Floats] = {}
    unreadable: list[str] = []
    needed = least_images(len(original.card.classes))
    if len(target.paths) < needed:
        raise _too_few(target, len(target.paths), needed)
    found = original.graph.of_files(target.paths, "features", progress)
    for path, result in zip(target.paths, found, strict=True):
        if isinstance(result, ImageError):
            unreadable.append(path.relative_to(target.root).as_posix())
        else:
            features[path] = result
    if unreadable:
        progress.message(
            f"left out {counted(len(unreadable), 'image')} that can't be read, such as "
            f"{unreadable[0]}"
        )
    if len(features) < needed:
        raise _too_few(target, len(features), needed, " that can be read")
    return features, unreadable


def _different(
    features: Mapping[Path, Floats],
    known: SourceFeatures,
    target: TargetImages,
    classes: int,
    progress: ProgressReporter,
) -> Mapping[Path, Floats]:
    """Return the features of images that differ from each other, the labelled ones first to stay.

    Copies of one photograph would look like a camera under which all images are alike. Raises
    DataError where fewer are left than are needed.
    """
    paths = sorted(features, key=lambda path: path not in target.labels)
    rows = np.stack([features[path] for path in paths])
    kept = {paths[number] for number in distinct(rows, known.features)}
    if len(kept) == len(features):
        return features
    needed = least_images(classes)
    if len(kept) < needed:
        raise _too_few(target, len(kept), needed, " that differ from each other")
    more = len(features) - len(kept)
    progress.message(f"left out {counted(more, 'image')} that look the same as another")
    return {path: row for path, row in features.items() if path in kept}


def _too_few(target: TargetImages, count: int, needed: int, what: str = "") -> DataError:
    if not what and target.found >= needed:
        return DataError(
            f"--images leaves {count} of {target.found} images of {target.root}; at least "
            f"{needed} are needed",
            hint=f"--images {needed}",
        )
    return DataError(
        f"{target.root} has {counted(count, 'image')}{what}; at least {needed} are needed",
        hint="with fewer, chance decides whether the new file is better",
    )


def _logits(
    original: Original, features: Floats
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return features.astype(np.float64) @ original.weight.T + original.bias


def _refused(result: Adapted) -> RefusedError:
    more = "more labelled photographs in labels.csv can show more"
    first = "a labels.csv in the folder, with a few labelled photographs a class, can show more"
    error = RefusedError(
        f"{result.model} is not adapted to {result.target}: {result.reason}",
        hint=first if result.figures.labelled is None else more,
    )
    error.result = result
    return error
