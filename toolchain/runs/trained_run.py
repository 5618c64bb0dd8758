"""A finished training run: its card, settings, data set and network, each read once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from toolchain.data.audit import Audit
from toolchain.data.layouts import Dataset, Sample, read_dataset
from toolchain.errors import DataError
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import read_settings
from toolchain.runtime.card import Card

if TYPE_CHECKING:
    from toolchain.networks.resnet import Classifier


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run folder with a trained model.

    The card is read by `open`, everything else on first access and then kept: a benchmark of the
    network needs no images, and inspecting the card needs no torch.
    """

    folder: RunFolder
    card: Card
    data: str | None = None
    """Where the images are, if not at the path in the settings."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, data: str | None = None) -> TrainedRun:
        """Return the run in the folder `path`; `data` replaces the path of its images.

        Raises DataError where the folder has no trained model, and ModelFileError for a damaged
        card.
        """
        folder = RunFolder.open(path)
        return cls(folder, folder.read_card(), data)

    @cached_property
    def settings(self) -> FinetuneSettings:
        """The settings that the run was trained with."""
        return read_settings(self.folder.settings, {}, judge=False)

    @cached_property
    def dataset(self) -> Dataset:
        """The data set of the run; raises DataError where it is gone or has other classes."""
        place = self.data or self.settings.data
        if not Path(place).exists():
            raise DataError(
                f"{place}: the data of {self.folder.path} is no longer there",
                hint="say where with --data",
            )
        dataset = read_dataset(place, self.settings.task)
        if dataset.classes != self.card.classes:
            raise DataError(
                f"{place}: its classes are not those that {self.folder.path} was trained on"
            )
        return dataset

    @cached_property
    def classifier(self) -> Classifier:
        """The trained network, loaded on the CPU, in eval mode; the same module each time."""
        from toolchain.networks.weights import load_classifier

        card = self.card
        return load_classifier(
            card.architecture, len(card.classes), self.folder.weights, card.normalisation
        )

    @cached_property
    def unreadable(self) -> frozenset[str]:
        """Names, relative to the data, of the files that training could not read and left out."""
        if not self.folder.audit.is_file():
            return frozenset()
        audit = msgspec.json.decode(self.folder.audit.read_bytes(), type=Audit)
        return frozenset(item.file for item in audit.unreadable)

    def readable(self, split: str) -> list[Sample]:
        """Return the samples of a split without those that training could not read."""
        name_of = self.dataset.name_of
        return [s for s in self.dataset.split(split) if name_of(s.path) not in self.unreadable]
