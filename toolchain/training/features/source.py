"""What is frozen is computed once, for each image and view; training starts from the results."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from toolchain.data.layouts import Dataset, Sample
from toolchain.errors import ImageError
from toolchain.networks.resnet import Classifier
from toolchain.networks.split import FrozenBackbone, parts
from toolchain.networks.weights import state_sha256
from toolchain.progress import ProgressReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.cores import usable_cores
from toolchain.training.distributed import Processes
from toolchain.training.features.engine import Engine, fastest_engine
from toolchain.training.features.store import (
    SCHEMA,
    CacheKey,
    Entry,
    Features,
    Unstorable,
    make_room,
    place,
)
from toolchain.training.inputs.augment import View, augmented_view
from toolchain.training.inputs.order import Order
from toolchain.training.inputs.samples import (
    Batch,
    Item,
    clean_pixels,
    collate,
    readable,
    seen,
    targets_of,
)


class FeatureSource:
    """Batches of features: each epoch takes one of the kept views of each image."""

    def __init__(
        self,
        samples: Sequence[Sample],
        targets: Tensor,
        order: Order,
        rows: Features,
        row_of: NDArray[np.int64],
    ) -> None:
        """`row_of` gives the row of [image, view]."""
        self.samples, self.targets, self.order = samples, targets, order
        self.rows, self.row_of = rows, row_of

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; neighbours are at different views of theirs."""
        self.order.epoch = number
        for part in self.order.parts():
            chosen = np.array(part.indices)
            view = (number + chosen) % self.row_of.shape[1]
            rows = self.rows[self.row_of[chosen, view]].astype(np.float32)
            inputs, targets = torch.from_numpy(rows), self.targets[chosen]
            yield Batch(inputs, targets, part.indices, part.counted, part.step_images)


@dataclass(frozen=True)
class FrozenPart:
    """All that the features of a data set follow from."""

    classifier: Classifier
    frozen: int
    """Parts of the network before the boundary; see `boundary.parts`."""
    dataset: Dataset
    preprocessing: Preprocessing
    settings: FinetuneSettings
    views: int
    """Augmented views of each training image; 0 for the clean view alone."""
    device: torch.device

    @property
    def boundary(self) -> str:
        """Name of the first part that is trained."""
        return parts(self.classifier.network)[self.frozen][0]


def feature_sources(
    part: FrozenPart, orders: tuple[Order, Order], processes: Processes, progress: ProgressReporter
) -> tuple[FeatureSource, FeatureSource] | None:
    """Return the sources of training and validation, computing what is not kept yet.

    None, with a line that says why, where the features can't be kept. `orders` are those of the
    two splits. Raises DataError for an image that can't be read any more.
    """
    prefix = FrozenBackbone(part.classifier, part.frozen).eval()
    wanted = _wanted(part, prefix)
    plan = [(entry, names) for entry, names, _ in wanted]
    if not processes.from_rank_zero(processes.is_rank_zero and _room(part, plan, progress)):
        return None
    if not processes.from_rank_zero(
        processes.is_rank_zero and _filled(part, prefix, wanted, progress)
    ):
        return None
    train, val = part.dataset.train, part.dataset.val
    entries = {entry.key.view: entry for entry, *_ in wanted}
    classes = len(part.dataset.classes)

    def source(samples: Sequence[Sample], order: Order, augmented: bool) -> FeatureSource:
        entry = entries[_view_name(part) if augmented else "clean"]
        names = [name for s in samples for name, _ in _rows_of(s, part.views if augmented else 0)]
        rows, numbers = entry.read(names)
        row_of = numbers.reshape(len(samples), -1)
        return FeatureSource(samples, targets_of(samples, classes), order, rows, row_of)

    return source(train, orders[0], part.views > 0), source(val, orders[1], False)


Wanted = tuple[Entry, list[str], list[tuple[Sample, int | None]]]


def _wanted(part: FrozenPart, prefix: FrozenBackbone) -> list[Wanted]:
    """Return for each entry the rows that this run needs, by name and by what to compute."""
    size = part.preprocessing.size
    blank = torch.zeros((1, size, size, 3), dtype=torch.uint8, device=part.device)
    with torch.inference_mode():
        shape = tuple(prefix(blank).shape[1:])
    key = CacheKey(
        data=str(part.dataset.root.resolve()),
        arch=part.settings.arch,
        boundary=part.boundary,
        weights_sha256=state_sha256(prefix.state_dict()),
        preprocessing=msgspec.to_builtins(part.preprocessing),
        view="clean",
        shape=shape,
        schema=SCHEMA,
    )
    clean = list(part.dataset.val)
    wanted = []
    if part.views:
        entry = Entry(msgspec.structs.replace(key, view=_view_name(part)))
        wanted.append((entry, *_rows(part.dataset.train, part.views)))
    else:
        clean = [*part.dataset.train, *clean]
    wanted.append((Entry(key), *_rows(clean, 0)))
    return wanted


def _view_name(part: FrozenPart) -> str:
    return f"{part.settings.augment}, seed {part.settings.seed}"


def _rows(
    samples: Sequence[Sample], views: int
) -> tuple[list[str], list[tuple[Sample, int | None]]]:
    named = {name: (sample, view) for sample in samples for name, view in _rows_of(sample, views)}
    return list(named), list(named.values())


def _rows_of(sample: Sample, views: int) -> list[tuple[str, int | None]]:
    """Return (name of the row, number of the view) of a sample; None is the clean view."""
    if not views:
        return [(sample.digest, None)]
    return [(f"{sample.digest}:{view}", view) for view in range(views)]


def _room(
    part: FrozenPart, plan: list[tuple[Entry, list[str]]], progress: ProgressReporter
) -> bool:
    total = sum(len(names) * entry.key.row_bytes for entry, names in plan)
    new = sum(entry.new_bytes(names) for entry, names in plan)
    limit = int(part.settings.cache_gb * 1e9)
    what = f"features before {part.boundary}: {_size(total)}"
    if not make_room(new, limit, [entry.folder for entry, _ in plan], progress):
        progress.message(
            f"{what}, more than --cache-gb {part.settings.cache_gb:g} or the disk allows: "
            "the frozen part is computed each epoch"
        )
        return False
    if not new:
        progress.message(f"{what}, all kept from an earlier run in {place()}")
    else:
        progress.message(f"{what} in {place()} (`rtl cache clear` removes them)")
    return True


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _filled(
    part: FrozenPart, prefix: FrozenBackbone, wanted: Sequence[Wanted], progress: ProgressReporter
) -> bool:
    """Compute what is missing; False, with a line that says why, where it can't be kept."""
    try:
        _fill(part, prefix, wanted, progress)
        if any(entry.missing(names) for entry, names, _ in wanted):
            # Somebody has cleared the cache meanwhile.
            _fill(part, prefix, wanted, progress)
    except Unstorable as error:
        progress.message(f"the frozen part is computed each epoch: {error}")
        return False
    return True


def _fill(
    part: FrozenPart, prefix: FrozenBackbone, wanted: Sequence[Wanted], progress: ProgressReporter
) -> None:
    view = augmented_view(part.settings)
    engine: Engine | None = None
    for entry, names, items in wanted:
        if not entry.missing(names):
            continue
        engine = engine or fastest_engine(prefix, part.preprocessing.size, part.device)
        try:
            with entry.writing(names, progress) as writer:
                missing = set(writer.missing)
                todo = [item for name, item in zip(names, items, strict=True) if name in missing]
                pictures = _Pictures(todo, part.preprocessing, view, part.settings.seed)
                for features in _computed(engine, pictures, part, progress):
                    for row in features:
                        writer.put(row)
        except OSError as error:
            entry.remove()
            reason = (error.strerror or str(error)).lower()
            raise Unstorable(f"its results can't be kept in {place()}: {reason}") from error


class _Pictures(TorchDataset[Item]):
    """The pixels of (sample, view) pairs."""

    def __init__(
        self,
        items: Sequence[tuple[Sample, int | None]],
        preprocessing: Preprocessing,
        view: View | None,
        seed: int,
    ) -> None:
        self.items, self.preprocessing, self.view, self.seed = items, preprocessing, view, seed

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        sample, number = self.items[index]
        try:
            return torch.from_numpy(self._pixels(sample, number).copy())
        except ImageError as error:
            return error

    def _pixels(self, sample: Sample, number: int | None) -> NDArray[np.uint8]:
        if number is None or self.view is None:
            return clean_pixels(sample, self.preprocessing)
        # By content and not by position, so that a row stays right when images are added.
        seeds = (self.seed, number, int(sample.digest[:15], 16))
        return seen(self.view, sample, self.preprocessing, seeds)


def _computed(
    engine: Engine, pictures: _Pictures, part: FrozenPart, progress: ProgressReporter
) -> Iterator[NDArray[np.float32]]:
    """Yield the features of the pictures, in order, batch by batch.

    Workers decode; here the engine computes.
    """
    batch = engine.batch
    workers = part.settings.workers if part.settings.workers >= 0 else usable_cores()
    loader = DataLoader(
        pictures,
        batch_size=batch,
        num_workers=min(workers, len(pictures) // batch),
        collate_fn=collate,
        generator=torch.Generator(),
    )
    pending: deque[Future[NDArray[np.float32]]] = deque()
    label = f"features before {part.boundary}"
    with ThreadPoolExecutor(engine.threads) as pool:
        for pixels in progress.track(loader, label, len(loader)):
            pending.append(pool.submit(engine, readable(pixels).numpy()))
            if len(pending) > 2 * engine.threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
