"""Which cached features a run needs, and the batches that are read from them.

The frozen layers of a network return the same features for the same pixels in every epoch. So they
are computed once, for each image and each of its augmented views, and training reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolchain.data.layouts import Sample
from toolchain.files import real_path
from toolchain.networks.split import FrozenBackbone
from toolchain.networks.weights import state_sha256
from toolchain.progress import ProgressReporter
from toolchain.training.distributed import Processes
from toolchain.training.features.compute import (
    FeatureSpec,
    RequiredRows,
    RowImage,
    compute_missing,
)
from toolchain.training.features.store import (
    SCHEMA,
    CacheKey,
    Entry,
    display_folder,
    free_space,
)
from toolchain.training.features.writer import Features, Unstorable
from toolchain.training.inputs.order import Order
from toolchain.training.inputs.samples import Batch, targets_of

Value = TypeVar("Value")


class FeatureSource:
    """Batches of features; each epoch reads one of the cached views of each image."""

    def __init__(
        self,
        samples: Sequence[Sample],
        targets: Tensor,
        order: Order,
        rows: Features,
        row_of: NDArray[np.int64],
    ) -> None:
        """`row_of` is int64 [images, views]: the index in `rows` of each image and view."""
        self.samples, self.targets, self.order = samples, targets, order
        self.rows, self.row_of = rows, row_of

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch.

        In epoch `number`, image i reads view (number + i) modulo the number of views. So an image
        changes its view from epoch to epoch, and each epoch contains all views in equal shares.
        """
        self.order.epoch = number
        for own in self.order.process_batches():
            images = np.array(own.indices)
            views = (number + images) % self.row_of.shape[1]
            rows = self.rows[self.row_of[images, views]].astype(np.float32)
            inputs, targets = torch.from_numpy(rows), self.targets[images]
            yield Batch(inputs, targets, own.indices, own.counted, own.step_images)


class _Part(NamedTuple):
    """The images of one source of batches, and what computes their features."""

    samples: Sequence[Sample]
    order: Order
    views: int
    """0 for the clean view alone."""
    backbone: FrozenBackbone


def feature_sources(
    spec: FeatureSpec, orders: Sequence[Order], processes: Processes, progress: ProgressReporter
) -> list[FeatureSource] | None:
    """Return the batches of training and validation, after computing the features not cached yet.

    With a target they are three. Returns None, after reporting the reason, where the features can't
    be cached. `orders` are those of the training, the validation and the target's images. Raises
    DataError for an image that can't be read.
    """
    parts = _parts(spec, orders)
    required = _or_report(lambda: _required_rows(spec, parts), progress)

    def compute() -> bool:
        return required is not None and (
            _reserve_space(spec, required, progress) and compute_missing(spec, required, progress)
        )

    kept = processes.run_on_rank_zero(lambda: _or_report(compute, progress))
    sources = None
    if kept and required is not None:
        sources = _or_report(lambda: _read(spec, parts, required), progress)
    # Where one process can't read them, all have to train from pixels.
    return sources if all(processes.gather(sources is not None)) else None


def _or_report(function: Callable[[], Value], progress: ProgressReporter) -> Value | None:
    """Return what a function returns; None, after reporting the reason, where the cache fails."""
    try:
        return function()
    except Unstorable as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.filename or display_folder()}: {(error.strerror or str(error)).lower()}"
    progress.message(f"the frozen part is computed each epoch: {reason}")
    return None


def _parts(spec: FeatureSpec, orders: Sequence[Order]) -> list[_Part]:
    """Return the training images, the validation images and, where there are some, the target's."""
    backbone = FrozenBackbone(spec.classifier, spec.frozen).eval()
    own = backbone
    if spec.source is not None:
        own = FrozenBackbone(spec.source, spec.frozen).eval()
    parts = [
        _Part(spec.dataset.train, orders[0], spec.views, own),
        _Part(spec.dataset.val, orders[1], 0, backbone),
    ]
    if spec.target:
        parts.append(_Part(spec.target, orders[2], spec.views, backbone))
    return parts


def _read(
    spec: FeatureSpec, parts: Sequence[_Part], required: Sequence[RequiredRows]
) -> list[FeatureSource]:
    """Return the batches of each part, whose rows are all kept."""
    entries = {(rows.backbone, rows.entry.key.view): rows.entry for rows in required}
    classes = len(spec.dataset.classes)

    def source(part: _Part) -> FeatureSource:
        entry = entries[part.backbone, _view_name(spec, part)]
        names = [name for sample in part.samples for name, _ in _rows_of(sample, part.views)]
        rows, row_numbers = entry.read(names)
        row_of = row_numbers.reshape(len(part.samples), -1)
        targets = targets_of(part.samples, classes)
        return FeatureSource(part.samples, targets, part.order, rows, row_of)

    return [source(part) for part in parts]


def _required_rows(spec: FeatureSpec, parts: Sequence[_Part]) -> list[RequiredRows]:
    """Return the rows that the run needs, in an entry for each backbone and kind of view.

    Training images have augmented views or, without augmentation, the clean one; validation images
    have the clean one.
    """
    size = spec.preprocessing.size
    blank = torch.zeros((1, size, size, 3), dtype=torch.uint8, device=spec.device)
    required: dict[tuple[FrozenBackbone, str], RequiredRows] = {}
    keys: dict[FrozenBackbone, CacheKey] = {}
    for part in parts:
        if part.backbone not in keys:
            with torch.inference_mode():
                shape = tuple(part.backbone(blank).shape[1:])
            keys[part.backbone] = clean_key(spec, part.backbone, shape)
        view = _view_name(spec, part)
        # One entry has all the rows of its parts at once: those that are in no part are dropped.
        earlier = required.get((part.backbone, view))
        images = _images_of(part.samples, part.views)
        if earlier is None:
            entry = Entry(msgspec.structs.replace(keys[part.backbone], view=view))
        else:
            entry = earlier.entry
            images = dict(zip(earlier.names, earlier.images, strict=True)) | images
        required[part.backbone, view] = RequiredRows(
            entry, part.backbone, list(images), list(images.values())
        )
    return list(required.values())


def clean_key(spec: FeatureSpec, backbone: FrozenBackbone, shape: tuple[int, ...]) -> CacheKey:
    """Return the key of the entry for clean views; `shape` is that of a row."""
    return CacheKey(
        data=str(real_path(spec.dataset.root)),
        arch=spec.settings.arch,
        boundary=spec.boundary,
        weights_sha256=state_sha256(backbone.state_dict()),
        preprocessing=msgspec.to_builtins(spec.preprocessing),
        view="clean",
        shape=shape,
        schema=SCHEMA,
    )


def _view_name(spec: FeatureSpec, part: _Part) -> str:
    return f"{spec.settings.augment}, seed {spec.settings.seed}" if part.views else "clean"


def _images_of(samples: Sequence[Sample], views: int) -> dict[str, RowImage]:
    """Return what each row of the samples is computed from; files of equal content share a row."""
    return {name: (sample, view) for sample in samples for name, view in _rows_of(sample, views)}


def _rows_of(sample: Sample, views: int) -> list[tuple[str, int | None]]:
    """Return (name, view) of each row of a sample; the view is None for the clean one."""
    if not views:
        return [(sample.digest, None)]
    return [(f"{sample.digest}:{view}", view) for view in range(views)]


def _reserve_space(
    spec: FeatureSpec, required: Sequence[RequiredRows], progress: ProgressReporter
) -> bool:
    """Free space in the cache for the missing rows; report and return whether there is enough."""
    total = sum(len(rows.names) * rows.entry.key.row_bytes for rows in required)
    new = sum(rows.entry.new_bytes(rows.names) for rows in required)
    limit = int(spec.settings.cache_gb * 1e9)
    what = f"features before {spec.boundary}: {_size(total)}"
    if not free_space(new, limit, [rows.entry.folder for rows in required], progress):
        progress.message(
            f"{what}, more than --cache-gb {spec.settings.cache_gb:g} or the disk allows: "
            "the frozen part is computed each epoch"
        )
        return False
    if not new:
        progress.message(f"{what}, all kept from an earlier run in {display_folder()}")
    else:
        progress.message(f"{what} in {display_folder()} (`rtl cache clear` removes them)")
    return True


def _size(bytes_: int) -> str:
    return f"{bytes_ / 1e9:.1f} GB" if bytes_ >= 1e9 else f"{bytes_ / 1e6:.1f} MB"
