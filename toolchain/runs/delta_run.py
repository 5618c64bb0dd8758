"""A run together with a delta to its weights: the model that the delta was trained as."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from toolchain.data.layouts import Dataset
from toolchain.errors import DataError
from toolchain.runs.damage import damaged, reading
from toolchain.runs.delta import Delta, apply_delta, read_delta
from toolchain.runs.runfolder import MODEL_SUFFIXES, RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.stored_settings import decode_settings
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import Card

if TYPE_CHECKING:
    from toolchain.networks.resnet import Classifier


@dataclass(frozen=True, eq=False, kw_only=True)
class DeltaRun(TrainedRun):
    """A base run as its delta makes it; card, settings and data are those of the delta."""

    delta: Delta
    trained: Classifier
    base: TrainedRun
    """The run whose weights the delta changes."""
    in_its_run: bool
    """Whether the delta lies in the folder of the run that it was trained in."""

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

        base, found = TrainedRun.open(run, data=data), read_delta(Path(delta))
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
        own = _own_card(folder, found)
        card = msgspec.structs.replace(
            found.card, weights=weights, metrics=(own or found.card).metrics
        )
        return cls(
            folder=folder,
            card=card,
            data=data,
            delta=found,
            trained=classifier,
            base=base,
            in_its_run=own is not None,
        )

    @property
    def exports(self) -> Path:
        """Where exported files go: those of deltas that lie side by side apart from each other.

        In the folder of another run `export/` is that run's.
        """
        name = self.delta.path.name
        if name == self.folder.delta.name and (self.in_its_run or not self.folder.card.is_file()):
            return self.folder.export
        short = name.removesuffix(self.folder.delta.suffix)
        # What would leave export/, or be called like a model file in it, keeps its whole name.
        plain = short not in ("", ".", "..") and Path(short).suffix not in MODEL_SUFFIXES
        return self.folder.export / (short if plain else name)

    @cached_property
    def settings(self) -> FinetuneSettings:
        """The settings that the delta was trained with; in a delta apart from its run, names only.

        The data and weights are then called what they were called where it was trained.
        """
        if self.in_its_run:
            return super().settings
        with reading(self.delta.path):
            return decode_settings(self.delta.record.settings)

    @cached_property
    def dataset(self) -> Dataset:
        """The data set that the delta was trained on.

        A delta apart from its run does not know where that is: it is the data of the base run where
        that has the same images and labels, and else has to be given.
        """
        if self.in_its_run:
            return super().dataset
        if self.base.card.data_sha256 == self.card.data_sha256:
            return self.base.dataset
        # Deltas of an older rtl say where their images were.
        if self.data is None and not Path(self.settings.data).is_absolute():
            raise DataError(
                f"{self.delta.path} was trained on '{self.settings.data}', other images than those "
                f"of {self.base.folder.path}, and does not say where they are",
                hint="say where with --data",
            )
        return super().dataset

    @property
    def _excluded(self) -> Path | None:
        """The list of images that were excluded; None where another run's may lie beside it."""
        return super()._excluded if self.in_its_run else None

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


def _own_card(folder: RunFolder, delta: Delta) -> Card | None:
    """Return the card in the folder of a delta where it is that of its run, with what was measured.

    None where the delta lies elsewhere: a folder without a run, or with another model's.
    """
    card = folder.read_card() if folder.card.is_file() else None
    return card if card and card.weights.sha256 == delta.card.weights.sha256 else None


def run_with_images(run: str | os.PathLike[str], delta: Path) -> str | os.PathLike[str]:
    """Return the run whose images a delta to `run` knows: its own where it lies there, else `run`.

    Raises DataError for what lies in the folder of a run and is no delta.
    """
    beside = RunFolder(delta.parent)
    is_own = beside.card.is_file() and _own_card(beside, read_delta(delta)) is not None
    return delta.parent if is_own else run


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
