"""A search that is killed: the same command trains only what is missing, and chooses the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import toolchain
from tests.select.test_cross_validate import inputs_for
from toolchain.cache import clear_caches, list_caches
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.settings_file import gather_settings
from toolchain.runs.stored_settings import stored_settings
from toolchain.select import fold_training
from toolchain.select.budget_search import TAILS
from toolchain.select.choose import chooser_for
from toolchain.select.going_on import fits
from toolchain.select.inputs import Pool
from toolchain.select.probe_sweep import Probe, sweep_probes
from toolchain.select.searches import (
    FoldResult,
    SearchEntry,
    SearchKey,
    SearchRecord,
    entries,
    searches_folder,
)
from toolchain.training.choosing import Choice
from toolchain.training.features.pooled import StageFeatures
from toolchain.training.fold_trainer import FoldTrainer, trained_fold

SMALL = {"size": 32, "workers": 0, "batch_size": 16, "budget": "10m"}
Train = Callable[..., FoldTrainer]
Search = Callable[..., Choice]
LPFT: dict[str, Any] = {
    "strategy": "partial",
    "optimizer": "adamw",
    "lr_head": 1e-3,
    "schedule": "constant",
    "views": 1,
    "head_start": "probe",
}


class Killed(SilentReporter):
    """Stops the command when a line with this text is reported."""

    def __init__(self, text: str) -> None:
        self.text = text

    def message(self, text: str) -> None:
        if self.text in text:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is trained without a fold: its strategy, its rate and the first held-out image."""
    calls: list[str] = []
    real: Train = trained_fold

    def counted(inputs: Any, settings: Any, train: Any, held_out: Any, *others: Any) -> FoldTrainer:
        calls.append(f"{settings.strategy}, {settings.lr_backbone:g}, {held_out[0].path}")
        return real(inputs, settings, train, held_out, *others)

    monkeypatch.setattr(fold_training, "trained_fold", counted)
    return calls


@pytest.fixture
def search(stripes: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Runs a small search: two folds, and two fine-tunings beside a probe that errs often."""

    def erring(features: StageFeatures, pool: Pool, classes: int, until: float) -> list[Probe]:
        [first, *_] = sweep_probes(features, pool, classes, 0.0)
        right = {fold: np.arange(len(known)) % 2 == 0 for fold, known in first.right.items()}
        return [first._replace(right=right)]

    monkeypatch.setattr("toolchain.select.budget_search.FOLDS", 2)
    monkeypatch.setattr("toolchain.select.budget_search.sweep_probes", erring)
    monkeypatch.setattr("toolchain.select.budget_search.TAILS", TAILS[:2])
    monkeypatch.setattr("toolchain.select.budget_search.LPFT", {**LPFT, "epochs": 1})
    settings = SMALL | {"weights": str(random_weights)}

    def run(progress: ProgressReporter | None = None, **given: object) -> Choice:
        words = settings | given
        choose = chooser_for(gather_settings(None, words | {"data": str(stripes)}))
        assert choose is not None
        return choose(inputs_for(stripes, **words), progress or SilentReporter())

    return run


def figures(choice: Choice) -> list[tuple[Any, ...]]:
    assert choice.selection is not None
    return [(row.name, row.verdict, row.correct, row.images) for row in choice.selection.measured]


def test_a_killed_search_trains_only_what_is_missing_and_chooses_the_same(
    search: Search, trained: list[str], stripes: Path, random_weights: Path, tmp_path: Path
) -> None:
    whole = search()
    assert len(trained) == 4
    assert whole.selection is not None
    [average] = [row for row in whole.selection.measured if row.name.startswith("average of")]
    assert average.images == 48
    [chosen] = [row for row in whole.selection.measured if row.verdict == "chosen"]
    assert (whole.selection.soup is None) == (average.correct < chosen.correct)
    assert whole.when_trained is not None
    whole.when_trained()
    trained.clear()
    with pytest.raises(KeyboardInterrupt):
        search(Killed("rate 0.001, none, fold 1"))
    assert len(trained) == 2
    given: dict[str, Any] = SMALL | {"weights": str(random_weights)}
    result = toolchain.finetune(stripes, tmp_path / "run", **given)
    assert len(trained) == 4
    assert len(set(trained)) == len(trained)
    assert result.selection is not None
    assert figures(Choice(whole.settings, result.selection)) == figures(whole)
    assert msgspec.structs.replace(whole.settings, data="") == msgspec.structs.replace(
        stored_settings(result.run.settings), data="", weights=str(random_weights)
    )
    assert list_caches().searches.searches == 0  # it has ended


def test_what_is_kept_is_of_the_same_command_only(search: Search, trained: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(Killed("fold 1"))
    assert list_caches().searches.searches == 1
    with pytest.raises(KeyboardInterrupt):
        search(Killed(" s, with 1 finished training without a fold"))
    trained.clear()
    with pytest.raises(KeyboardInterrupt):
        search(Killed("fold 1"), seed=1)
    assert len(trained) == 1
    assert list_caches().searches.searches == 2
    clear_caches()
    assert list_caches().searches.searches == 0
    assert not searches_folder().exists()


def test_the_time_until_the_kill_counts_as_spent(search: Search, trained: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(Killed("rate 0.0003, none, fold 1"))
    (file,) = searches_folder().glob("*/search.json")
    record = msgspec.json.decode(file.read_bytes(), type=SearchRecord)
    assert 0 < record.elapsed_s < 600
    SearchEntry(record.key).write(msgspec.structs.replace(record, elapsed_s=599.0))
    trained.clear()
    late = search()
    assert late.selection is not None
    assert late.selection.reason.endswith("the rest did not fit into the time")
    assert trained == []
    assert late.deadline is not None
    assert late.deadline > time.monotonic() + 500  # the training of the choice has its own time


KEY = SearchKey(
    asked={"budget": "5m"},
    settings_sha256="1",
    given=(),
    images_sha256="2",
    weights_sha256="3",
    versions={},
    device="cpu",
    threads=2,
)
RECORD = SearchRecord(
    key=KEY,
    elapsed_s=7.0,
    probes=(
        {
            "features": "layer4",
            "l2": 1.0,
            "scaling": 0.5,
            "head_stages": "last",
            "loss": 0.1,
            "right": {"0": "1"},
        },
    ),
    results=(FoldResult(trial="a", settings_sha256="4", fold=1, right="01", seconds=2.0),),
)
POOL = Pool((), np.array([0, 1, 1]))


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"key": {}}', b"\xff"])
def test_a_damaged_file_is_not_used(damage: bytes) -> None:
    entry = SearchEntry(KEY)
    entry.write(RECORD)
    assert entry.read() == RECORD
    (file,) = searches_folder().glob("*/search.json")
    file.write_bytes(damage)
    assert entry.read() is None


@pytest.mark.parametrize(
    "change",
    [
        {"probes": ({"features": "layer4"},)},
        {"probes": ({**RECORD.probes[0], "right": {"zero": "1"}},)},
        {"probes": ({**RECORD.probes[0], "right": {"0": "11"}},)},
        {"results": (msgspec.structs.replace(RECORD.results[0], right="0"),)},
        {"results": (msgspec.structs.replace(RECORD.results[0], fold=2),)},
    ],
)
def test_what_is_not_of_these_folds_is_not_used(change: dict[str, Any]) -> None:
    whole = {"0": "1", "1": "00"}
    fitting = msgspec.structs.replace(RECORD, probes=({**RECORD.probes[0], "right": whole},))
    assert fits(fitting, POOL)
    assert not fits(msgspec.structs.replace(fitting, **change), POOL)


def test_the_longest_unused_searches_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        key = msgspec.structs.replace(KEY, threads=number)
        SearchEntry(key).write(msgspec.structs.replace(RECORD, key=key))
        monkeypatch.setattr("toolchain.select.searches.MOST_BYTES", entries()[0].bytes * 2.5)
        time.sleep(0.02)
    assert [SearchEntry(msgspec.structs.replace(KEY, threads=n)).read() for n in (0,)] == [None]
    assert len(entries()) == 2


def test_a_comparison_of_strategies_goes_on_too(
    stripes: Path, random_weights: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolchain.select.try_strategies.FOLDS", 2)
    few = ({"strategy": "head"}, {"strategy": "partial", "freeze_until": "layer4"})
    monkeypatch.setattr("toolchain.select.try_strategies.STRATEGIES", few)
    given: dict[str, Any] = SMALL | {"weights": str(random_weights), "epochs": 1}
    given |= {"augment": "none"}
    with pytest.raises(KeyboardInterrupt):
        toolchain.try_strategies(stripes, progress=Killed("partial, fold 1"), **given)
    assert len(trained) == 2
    toolchain.try_strategies(stripes, **given)
    assert len(trained) == 4
    assert list_caches().searches.searches == 0
