"""A finished training run: its card, settings, data set and network, each read once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from toolchain.data.audit import DIGEST_DIGITS, is_readable
from toolchain.data.audit_result import Audit
from toolchain.data.class_names import class_name
from toolchain.data.exclusion import without_excluded
from toolchain.data.layouts import Dataset, Sample, read_dataset
from toolchain.errors import DataError, TrainingError
from toolchain.files import file_sha256
from toolchain.printable import shell_words
from toolchain.runs.damage import RESTORE, damaged, reading
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.stored_settings import stored_settings
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

    @property
    def exports(self) -> Path:
        """Where exported files go."""
        return self.folder.export

    @cached_property
    def settings(self) -> FinetuneSettings:
        """The settings that the run was trained with."""
        return stored_settings(self.folder.settings)

    @cached_property
    def dataset(self) -> Dataset:
        """The data set of the run; raises DataError where it is gone or has other classes."""
        place = self.data or self.settings.data
        if self.data is None and not Path(place).exists():
            raise DataError(
                f"{place}: the data of {self.folder.path} is no longer there",
                hint="say where with --data",
            )
        dataset = read_dataset(place, self.settings.task, self.settings.splitting)
        if excluded := self._excluded:
            dataset = without_excluded(dataset, str(excluded))
        self.require_classes(place, dataset.classes, every=True)
        return dataset

    @property
    def _excluded(self) -> Path | None:
        """The list of images that were excluded from the data; None where none were."""
        return self.folder.excluded if self.folder.excluded.is_file() else None

    def require_classes(self, place: str, classes: tuple[str, ...], *, every: bool) -> None:
        """Raise DataError for a class that the run does not know, or `every` and one is missing."""
        # Runs of earlier versions may have names in another form of Unicode.
        known = tuple(map(class_name, self.card.classes))
        unknown = [name for name in classes if name not in known]
        missing = [name for name in known if name not in classes] if every else []
        if unknown or missing or (every and classes != known):
            found = [f"'{name}' is not one of them" for name in unknown[:3]]
            found += [f"'{name}' is missing" for name in missing[:3]]
            raise DataError(
                f"{place}: its classes are not those that {self.folder.path} was trained on: "
                f"{', '.join(found) or 'they are in another order'}",
                hint=f"the run knows {', '.join(known[:20])}",
            )

    @cached_property
    def classifier(self) -> Classifier:
        """The trained network, loaded on the CPU, in eval mode; the same module each time.

        Raises DataError where the weights are damaged, or not those that the card is of.
        """
        from toolchain.networks.weights import load_classifier

        self.require_own_weights()
        card = self.card
        try:
            return load_classifier(
                card.architecture,
                len(card.classes),
                self.folder.weights,
                card.normalisation,
                card.head_stages,
            )
        except TrainingError as error:
            raise damaged(self.folder.weights, str(error), hint=RESTORE) from error

    @cached_property
    def stored_sha256(self) -> str:
        """The digest of the weights file as it is now."""
        return file_sha256(self.folder.weights)

    @cached_property
    def evaluated_at(self) -> float | None:
        """When the run was last evaluated, in seconds since 1970; None where it was not."""
        try:
            return self.folder.evaluation.stat().st_mtime
        except OSError:
            return None

    @property
    def weights_sha256(self) -> str:
        """The digest of the trained weights, as the card has it."""
        return self.card.weights.sha256

    def require_own_weights(self) -> None:
        """Raise DataError where the run's weights are not those that its card was written for."""
        weights = self.folder.weights
        with reading(weights):
            found = file_sha256(weights)
        if found == self.weights_sha256:
            return
        resume = shell_words("rtl", "finetune", "--resume", self.folder.path)
        raise DataError(
            f"{weights} is damaged, or of another run: its digest {found[:12]} is not the "
            f"{self.weights_sha256[:12] or '(none)'} in {self.folder.card}",
            hint=resume if self.folder.checkpoints.is_dir() else RESTORE,
        )

    @cached_property
    def audit(self) -> Audit | None:
        """What training found in the data; None where the run has no audit.json."""
        file = self.folder.audit
        if not file.exists():
            return None
        with reading(file, hint=f"{RESTORE}, or remove {file}: images are then used as they are"):
            return msgspec.json.decode(file.read_bytes(), type=Audit)

    @cached_property
    def train_digests(self) -> frozenset[str]:
        """Beginnings of the digests of the training images; empty for runs of an older rtl."""
        return frozenset(self.audit.train_digests) if self.audit else frozenset()

    def was_trained_on(self, sample: Sample) -> bool:
        """Return whether an image has the bytes of a training image, as far as the run knows."""
        return sample.digest[:DIGEST_DIGITS] in self.train_digests

    @cached_property
    def unreadable(self) -> frozenset[str]:
        """Names, relative to the data, of the files that training could not read and left out."""
        return frozenset(item.file for item in self.audit.unreadable) if self.audit else frozenset()

    def readable(self, split: str) -> list[Sample]:
        """Return the samples of a split without those that training could not read.

        One of those that can be read now is among them: under `data` it may be another file.
        """
        return [sample for sample in self.dataset.split(split) if self._is_usable(sample)]

    def _is_usable(self, sample: Sample) -> bool:
        name = self.dataset.name_of(sample.path)
        return name not in self.unreadable or is_readable(sample.path)
