"""A run together with a delta to its weights: the model that the delta was trained as."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from toolchain.errors import DataError
from toolchain.runs.damage import damaged, reading
from toolchain.runs.delta import Delta, apply_delta, read_delta
from toolchain.runs.runfolder import MODEL_SUFFIXES, RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.stored_settings import decode_settings
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import Metrics

if TYPE_CHECKING:
    from toolchain.networks.resnet import Classifier


@dataclass(frozen=True, eq=False, kw_only=True)
class DeltaRun(TrainedRun):
    """A base run as its delta makes it; card, settings and data are those of the delta."""

    delta: Delta
    trained: Classifier

    @classmethod
    def of(
        cls,
        run: str | os.PathLike[str],
        delta: str | os.PathLike[str],
        *,
        data: str | None = None,
    ) -> DeltaRun:
        """Return the run in the folder `run` with the delta in a file.

        Its `folder` is that of the delta. Raises DataError where one of them can't be read, or the
        delta is of another architecture or of other weights.
        """
        from toolchain.networks.weights import state_sha256

        base, found = TrainedRun.open(run), read_delta(Path(delta))
        if base.card.architecture != found.card.architecture:
            raise DataError(
                f"{found.path} is of {found.card.architecture}, and {base.folder.path} is of "
                f"{base.card.architecture}",
                hint="give the run that it was trained from",
            )
        classifier = _trained_classifier(base, found)
        # On another processor the merged weights may differ in their last bits.
        digest = state_sha256(classifier.state_dict())
        weights = msgspec.structs.replace(found.card.weights, sha256=digest)
        folder = RunFolder(found.path.parent)
        metrics = _measured_since(folder, found)
        card = msgspec.structs.replace(found.card, weights=weights, metrics=metrics)
        return cls(folder=folder, card=card, data=data, delta=found, trained=classifier)

    @property
    def exports(self) -> Path:
        """Where exported files go: those of deltas that lie side by side apart from each other."""
        name = self.delta.path.name
        if name == self.folder.delta.name:
            return self.folder.export
        short = name.removesuffix(self.folder.delta.suffix)
        # What would leave export/, or be called like a model file in it, keeps its whole name.
        plain = short not in ("", ".", "..") and Path(short).suffix not in MODEL_SUFFIXES
        return self.folder.export / (short if plain else name)

    @cached_property
    def settings(self) -> FinetuneSettings:
        """The settings that the delta was trained with."""
        with reading(self.delta.path):
            return decode_settings(self.delta.record.settings)

    @cached_property
    def classifier(self) -> Classifier:
        """The trained network, on the CPU, in eval mode; the same module each time."""
        return self.trained

    @cached_property
    def stored_sha256(self) -> str:
        """The digest of the trained weights, as a file of them would have it."""
        return self.weights_sha256

    @cached_property
    def evaluated_at(self) -> float | None:
        """None: its metrics are in the card."""
        return None

    @cached_property
    def unreadable(self) -> frozenset[str]:
        """Names, relative to the data, of the files that training could not read and left out."""
        return frozenset(self.delta.record.unreadable)


def _measured_since(folder: RunFolder, delta: Delta) -> Metrics | None:
    """Return what was measured of the delta's model: that of its run, where it lies in that."""
    if folder.card.is_file():
        card = folder.read_card()
        if card.weights.sha256 == delta.card.weights.sha256:
            return card.metrics
    return delta.card.metrics


def _trained_classifier(base: TrainedRun, delta: Delta) -> Classifier:
    """Return the network of a base run with a delta; DataError where they do not fit."""
    from toolchain.networks.resnet import Classifier, build_network

    state = apply_delta(delta, base.classifier.state_dict(), str(base.folder.path))
    dropout = 0.5 if "network.fc.1.weight" in state else 0.0
    card = delta.card
    network = build_network(
        card.architecture, len(card.classes), dropout=dropout, head_stages=card.head_stages
    )
    classifier = Classifier(network, card.normalisation)
    try:
        classifier.load_state_dict(state)
    except RuntimeError as error:
        raise damaged(delta.path, "its tensors are not those of its card") from error
    return classifier.eval()


def open_run(
    run: str | os.PathLike[str],
    delta: str | os.PathLike[str] | None = None,
    *,
    data: str | None = None,
) -> TrainedRun:
    """Return the run in a folder, with a delta to its weights where one is given."""
    return TrainedRun.open(run, data=data) if delta is None else DeltaRun.of(run, delta, data=data)
