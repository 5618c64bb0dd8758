"""A search that goes on where one with the same command was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from toolchain.display import counted
from toolchain.files import encode_json
from toolchain.machine import installed_versions
from toolchain.networks.weights import state_sha256
from toolchain.progress import ProgressReporter
from toolchain.runs.settings_file import settings_sha256
from toolchain.select.inputs import Pool
from toolchain.select.probe_sweep import Probe
from toolchain.select.rounds import Right, Trial
from toolchain.select.searches import FoldResult, SearchEntry, SearchKey, SearchRecord
from toolchain.training.choosing import ChoiceInputs


class Search:
    """What a search has finished, kept so that the same command goes on after a kill.

    The time that was spent until then counts as spent, so that it ends as if it had not been
    stopped: `started` is when it would have begun.
    """

    def __init__(self, entry: SearchEntry | None, record: SearchRecord, started: float) -> None:
        """`started` is when the command began, as `time.monotonic` counts."""
        self._entry, self.record = entry, record
        self.started = min(started, time.monotonic() - record.elapsed_s)

    @property
    def probes(self) -> list[Probe]:
        """The linear probes; empty where they were not finished."""
        return [_unpacked(fields) for fields in self.record.probes]

    def right(self, trial: Trial, fold: int) -> Right | None:
        """Return on which of a fold's images a trial was right, None if unknown; note its time."""
        digest = settings_sha256(trial.settings)
        for result in self.record.results:
            if (result.trial, result.settings_sha256, result.fold) == (trial.name, digest, fold):
                trial.seconds[fold] = result.seconds
                return _bits(result.right)
        return None

    def keep_probes(self, probes: Sequence[Probe], pass_s: float) -> None:
        """Keep the linear probes, and what a pass of the images takes."""
        self._keep(probes=tuple(map(_packed, probes)), pass_s=pass_s)

    def keep_fold(self, trial: Trial, fold: int, right: Right, seconds: float) -> None:
        """Keep on which images of a fold a trial was right, and what its training took."""
        result = FoldResult(
            trial=trial.name,
            settings_sha256=settings_sha256(trial.settings),
            fold=fold,
            right=_text(right),
            seconds=seconds,
        )
        self._keep(results=(*self.record.results, result))

    def keep_soup(self, layers: str, fold: int, right: Right) -> None:
        """Keep on which of a fold's images the average of those that train `layers` was right."""
        soups = self.record.soups
        self._keep(soups={**soups, layers: {**soups.get(layers, {}), fold: _text(right)}})

    def soups(self, layers: str) -> dict[int, Right]:
        """Return fold → on which of its images the average of these trainings was right."""
        return {fold: _bits(text) for fold, text in self.record.soups.get(layers, {}).items()}

    def over(self) -> None:
        """Remove what is kept: the search has ended."""
        if self._entry is not None:
            self._entry.remove()

    def _keep(self, **changes: Any) -> None:
        elapsed = time.monotonic() - self.started
        self.record = msgspec.structs.replace(self.record, elapsed_s=elapsed, **changes)
        if self._entry is not None:
            self._entry.write(self.record)


def search_of(
    asked: dict[str, str],
    inputs: ChoiceInputs,
    given: frozenset[str],
    pool: Pool,
    started: float,
    progress: ProgressReporter,
) -> Search:
    """Return the search that was stopped with the same command, or a new one.

    With `--no-cache`, and where the cache folder can't be used, nothing is kept.
    """
    key = _key(asked, inputs, given, pool)
    entry = None
    with contextlib.suppress(OSError):
        entry = SearchEntry(key) if inputs.settings.cache else None
    record = entry.read() if entry is not None else None
    if record is None or not fits(record, pool):
        return Search(entry, SearchRecord(key=key), started)
    progress.message(
        f"going on with a search that was stopped after {record.elapsed_s:.0f} s, with "
        f"{counted(len(record.results), 'finished training')} without a fold"
    )
    return Search(entry, record, started)


def _key(
    asked: dict[str, str], inputs: ChoiceInputs, given: frozenset[str], pool: Pool
) -> SearchKey:
    images = [
        (sample.digest, sample.label, int(fold))
        for sample, fold in zip(pool.samples, pool.fold_of, strict=True)
    ]
    known = encode_json([inputs.dataset.classes, images])
    return SearchKey(
        asked=asked,
        settings_sha256=settings_sha256(inputs.settings),
        given=tuple(sorted(given)),
        images_sha256=hashlib.sha256(known).hexdigest(),
        weights_sha256=state_sha256(inputs.start.classifier.state_dict()),
        versions=installed_versions(),
        device=str(inputs.device),
        threads=torch.get_num_threads(),
    )


def fits(record: SearchRecord, pool: Pool) -> bool:
    """Return whether what is kept is of these folds: a file may be damaged and still be JSON."""
    sizes = {fold: int((pool.fold_of == fold).sum()) for fold in pool.folds}
    try:
        probes = [_unpacked(fields) for fields in record.probes]
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    if probes and probes[0].head_stages != "last":
        return False
    lengths = [(result.fold, len(result.right)) for result in record.results]
    for soups in record.soups.values():
        lengths += [(fold, len(text)) for fold, text in soups.items()]
    return all(
        {fold: len(right) for fold, right in probe.right.items()} == sizes for probe in probes
    ) and all(sizes.get(fold) == length for fold, length in lengths)


def _packed(probe: Probe) -> dict[str, Any]:
    right = {str(fold): _text(right) for fold, right in probe.right.items()}
    return {**probe._asdict(), "right": right}


def _unpacked(fields: dict[str, Any]) -> Probe:
    right = {int(fold): _bits(text) for fold, text in fields["right"].items()}
    return Probe(**{**fields, "right": right})


def _text(right: NDArray[np.bool_]) -> str:
    return "".join("1" if one else "0" for one in right)


def _bits(text: str) -> NDArray[np.bool_]:
    return np.array([letter == "1" for letter in text], bool)
