"""What is frozen is computed once: the cut, the rows that are kept, and who computes them."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import pickle
import shutil
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tests.conftest import draw_stripes
from tests.training.test_resume import (
    COMMON,
    HEAD,
    Desk,
    at_call,
    killed_at,
    meet,
    outcome,
    rows_kept_at_once,
)
from tests.training.test_stops import empty_disk, fill_disk
from toolchain.data.audit import audit_dataset
from toolchain.data.layouts import read_dataset
from toolchain.narrator import Silent
from toolchain.runfolder import RunFolder
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image import read_image
from toolchain.runtime.preprocess import preprocess
from toolchain.training import feature_engine, features
from toolchain.training.augment import augmented_view
from toolchain.training.boundary import Prefix, Tail, parts
from toolchain.training.distributed import Processes
from toolchain.training.feature_engine import Engine
from toolchain.training.feature_store import (
    About,
    Entry,
    EntrySize,
    Filler,
    entries,
    features_folder,
)
from toolchain.training.features import FeatureSource
from toolchain.training.inputs import Inputs, stage_inputs
from toolchain.training.models import (
    IMAGENET_NORMALISATION,
    Classifier,
    build_network,
    load_classifier,
    read_weights,
    weights_bytes,
)
from toolchain.training.samples import PixelSource, Source
from toolchain.training.settings_file import read_settings
from toolchain.training.setup import prepare
from toolchain.training.strategies import enter_stage

Item = TypeVar("Item")


class Listener:
    """A narrator that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        return iter(items)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Computed:
    """Counts the rows that are computed."""

    def __init__(self) -> None:
        self.rows = 0

    def since(self) -> int:
        """Give how many there were since the last time."""
        count, self.rows = self.rows, 0
        return count


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Computed:
    counter, put = Computed(), Filler.put

    def counted(filler: Filler, row: NDArray[np.float32]) -> None:
        counter.rows += 1
        put(filler, row)

    monkeypatch.setattr(Filler, "put", counted)
    return counter


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights to start from, the same in all of these tests."""
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    path.write_bytes(weights_bytes(build_network("resnet18", 3).state_dict()))
    return path


@pytest.fixture
def data(stripes: Path, tmp_path: Path) -> Path:
    """A copy of 48 training and 24 validation images, which a test may change."""
    shutil.copytree(stripes, tmp_path / "data")
    return tmp_path / "data"


def inputs(data: Path, start: Path, **given: Any) -> tuple[Inputs, Listener]:
    """Give what the first stage of training starts from, and what the user is told.

    Only the stem is frozen unless a test says otherwise: it is computed quickly.
    """
    fixed = {
        "data": str(data),
        "weights": str(start),
        "strategy": "partial",
        "freeze_until": "layer1",
        "size": 32,
        "epochs": 4,
        "batch_size": 16,
        "augment": "none",
        "workers": 0,
    }
    settings = read_settings(None, {**fixed, **given})
    dataset, _ = audit_dataset(read_dataset(data))
    network = network_of(Path(settings.weights))
    begun = (Classifier(network, IMAGENET_NORMALISATION), "file")
    setup = prepare(settings, dataset, begun, torch.device("cpu"), Processes(), Silent())
    enter_stage(network, setup.stages[0])
    listener = Listener()
    return stage_inputs(setup, setup.stages[0], listener), listener


@functools.cache
def random_network() -> nn.Module:
    return build_network("resnet18", 3)


def network_of(weights: Path) -> nn.Module:
    """Give the network that training starts with; a copy takes less time than a new one."""
    network = copy.deepcopy(random_network())
    network.load_state_dict(read_weights(weights))
    return network


def by_image(source: Source, epoch: int) -> NDArray[np.float32]:
    """Give what an epoch trains on, image by image in the order of the data set."""
    batches = list(source.epoch(epoch))
    order = np.argsort([index for batch in batches for index in batch.indices])
    rows: NDArray[np.float32] = torch.cat([batch.inputs for batch in batches]).numpy()
    return rows[order]


def entry_of(view: str) -> EntrySize:
    (found,) = [entry for entry in entries() if entry.about.view == view]
    return found


# The cut


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_both_sides_of_every_cut_together_are_the_network_bit_for_bit(arch: str) -> None:
    torch.manual_seed(0)
    classifier = Classifier(build_network(arch, 3, dropout=0.5), IMAGENET_NORMALISATION).eval()
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = classifier(pixels)
        for frozen in range(1, len(parts(classifier.network))):
            features = Prefix(classifier, frozen)(pixels)
            assert torch.equal(Tail(classifier, frozen)(features), expected), frozen


@pytest.mark.parametrize(
    ("words", "tolerance"),
    # float16 keeps 11 bits, so that a feature is off by 2^-12 = 0.02 % at most. Measured after nine
    # steps, relative to the largest logit: 0.003 % for the head, which is linear in its features,
    # and 0.08 % with a convolution and its BatchNorm between.
    [(["--strategy", "head"], 1e-3), (["--strategy", "partial", "--freeze-until", "16"], 1e-2)],
    ids=["head", "partial"],
)
def test_training_from_kept_features_gives_what_training_from_pixels_gives(
    stripes: Path, start: Path, tmp_path: Path, words: list[str], tolerance: float
) -> None:
    desk = Desk(tmp_path)
    common = [stripes, *COMMON, "--weights", start, "--augment", "none", *words]
    common += ["--metric", "loss", "--lr-head", "1e-3"]
    logits, losses = [], []
    for cache in ("--cache", "--no-cache"):
        ended = desk.finetune(*common, cache, output=cache[2:])
        assert ended.status == 0, ended.output
        assert ("features before" in ended.output) == (cache == "--cache")
        logits.append(validation_logits(tmp_path / cache[2:], stripes))
        losses.append([row["train_loss"] for row in outcome(tmp_path / cache[2:]).metrics[:3]])
    assert losses[0] == pytest.approx(losses[1], abs=tolerance)
    assert np.abs(logits[0] - logits[1]).max() < tolerance * np.abs(logits[1]).max()
    assert not np.array_equal(logits[0], logits[1]), "was the cache used at all?"


def validation_logits(run: Path, data: Path) -> NDArray[np.float32]:
    weights = RunFolder(run).weights
    classifier = load_classifier("resnet18", 3, weights, IMAGENET_NORMALISATION)
    pixels = [clean(sample.path) for sample in read_dataset(data).val]
    with torch.inference_mode():
        logits: NDArray[np.float32] = classifier(torch.from_numpy(np.stack(pixels))).numpy()
    return logits


def clean(path: Path) -> NDArray[np.uint8]:
    preprocessing = Preprocessing(size=32, resize_size=37)
    return preprocess(read_image(path, preprocessing), preprocessing)


# The rows


def test_a_row_is_what_the_frozen_part_gives_for_the_clean_view(stripes: Path, start: Path) -> None:
    made, _ = inputs(stripes, start)
    prefix = Prefix(Classifier(network_of(start), IMAGENET_NORMALISATION), frozen=4).eval()
    for source, samples in zip(
        (made.train, made.val),
        (read_dataset(stripes).train, read_dataset(stripes).val),
        strict=True,
    ):
        pixels = np.stack([clean(sample.path) for sample in samples])
        with torch.inference_mode():
            expected = prefix(torch.from_numpy(pixels)).numpy()
        assert np.allclose(by_image(source, 1), expected, rtol=1e-3, atol=1e-3)


def test_rows_lie_in_a_file_of_float16_which_is_mapped(stripes: Path, start: Path) -> None:
    made, _ = inputs(stripes, start)
    assert isinstance(made.train, FeatureSource)
    rows = made.train.rows
    assert isinstance(rows, np.memmap)
    assert (rows.dtype, rows.shape) == (np.float16, (72, 64, 8, 8))
    (file,) = entry_of("clean").folder.glob("rows-*.f16")
    assert file.stat().st_size == 72 * 64 * 8 * 8 * 2


@pytest.mark.parametrize("augment", ["none", "s1"])
def test_the_second_run_computes_nothing(
    stripes: Path, start: Path, monkeypatch: pytest.MonkeyPatch, augment: str
) -> None:
    first, _ = inputs(stripes, start, augment=augment, views=2)

    def no_engine(*_: object) -> Engine:
        raise AssertionError("something was computed")

    monkeypatch.setattr(features, "fastest_engine", no_engine)
    second, told = inputs(stripes, start, augment=augment, views=2)
    assert "all kept from an earlier run" in told.text
    for epoch in (1, 2):
        assert np.array_equal(by_image(first.train, epoch), by_image(second.train, epoch))
    assert np.array_equal(by_image(first.val, 1), by_image(second.val, 1))


def test_the_size_is_told(stripes: Path, start: Path, cache: Path) -> None:
    _, told = inputs(stripes, start, augment="s1", views=3)
    # 3 × 48 + 24 rows of 64 × 8 × 8 float16.
    assert "features before layer1.0: 1.4 MB" in told.text
    assert "rtl cache clear" in told.text
    assert str(cache / "features") in told.text


def test_each_image_has_its_views_and_epochs_take_them_in_turn(
    stripes: Path, start: Path, computed: Computed
) -> None:
    made, _ = inputs(stripes, start, augment="s1", views=3)
    assert computed.since() == 3 * 48 + 24
    assert entry_of("s1, seed 0").rows == 3 * 48
    assert entry_of("clean").rows == 24
    seen = [by_image(made.train, epoch) for epoch in (1, 2, 3, 4)]
    for earlier, later in ((0, 1), (1, 2), (0, 2)):
        same = (seen[earlier] == seen[later]).reshape(48, -1).all(axis=1)
        assert not same.any()
    assert np.array_equal(seen[0], seen[3])


def test_an_epoch_is_not_one_view_of_all_images(stripes: Path, start: Path) -> None:
    """All images at their first view, then all at their second, would be small data sets."""
    made, _ = inputs(stripes, start, augment="s1", views=3)
    assert isinstance(made.train, FeatureSource)
    views = [set(np.flatnonzero((made.train.row_of == row).any(axis=0))) for row in range(6)]
    assert views == [{0}, {1}, {2}] * 2, "rows lie view by view"
    first, rows = by_image(made.train, 1), made.train.rows
    taken = [
        int(np.flatnonzero([np.array_equal(rows[r], image) for r in own])[0])
        for image, own in zip(first, made.train.row_of, strict=True)
    ]
    assert {taken.count(view) for view in range(3)} == {16}


def test_more_views_than_epochs_are_not_computed(
    stripes: Path, start: Path, computed: Computed
) -> None:
    inputs(stripes, start, augment="turns", views=5, epochs=2)
    assert computed.since() == 2 * 48 + 24
    inputs(stripes, start, augment="turns", views=5, epochs=3)
    assert computed.since() == 48, "two views are there"


# What a row belongs to


@pytest.mark.parametrize(
    ("changed", "rows"),
    [
        ({"size": 48}, 72),
        ({"preprocessing": "squash"}, 72),
        ({"resize_size": 40}, 72),
        ({"freeze_until": "3"}, 72),
        ({"augment": "turns", "views": 1}, 48),
        # What has no say in the features.
        ({"seed": 1}, 0),
        ({"batch_size": 8, "epochs": 9, "lr_head": 1.0, "dropout": 0.5, "views": 2}, 0),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else str(value),
)
def test_other_settings_get_rows_of_their_own_where_it_matters(
    stripes: Path, start: Path, computed: Computed, changed: dict[str, Any], rows: int
) -> None:
    inputs(stripes, start)
    assert computed.since() == 72
    inputs(stripes, start, **changed)
    assert computed.since() == rows
    inputs(stripes, start)
    assert computed.since() == 0, "the first rows are still there"


def test_another_seed_gets_other_views_and_shares_the_clean_ones(
    stripes: Path, start: Path, computed: Computed
) -> None:
    first, _ = inputs(stripes, start, augment="s1", views=1, seed=1)
    computed.since()
    other, _ = inputs(stripes, start, augment="s1", views=1, seed=2)
    assert computed.since() == 48
    assert not np.array_equal(by_image(first.train, 1), by_image(other.train, 1))


def test_other_weights_get_rows_of_their_own(
    stripes: Path, start: Path, tmp_path: Path, computed: Computed
) -> None:
    first, _ = inputs(stripes, start)
    computed.since()
    state = read_weights(start)
    state["bn1.running_mean"][0] += 0.5  # no parameter, and in the features all the same
    other = tmp_path / "other.safetensors"
    other.write_bytes(weights_bytes(state))
    second, _ = inputs(stripes, other)
    assert computed.since() == 72
    assert not np.array_equal(by_image(first.val, 1), by_image(second.val, 1))
    state["bn1.running_mean"][0] -= 0.5
    state["layer1.0.conv1.weight"] += 1.0  # after the boundary
    other.write_bytes(weights_bytes(state))
    inputs(stripes, other)
    assert computed.since() == 0


def test_a_changed_file_gets_new_rows_and_the_others_keep_theirs(
    data: Path, start: Path, computed: Computed
) -> None:
    before, _ = inputs(data, start)
    computed.since()
    draw_stripes(data / "train" / "down" / "03.jpg", "down", 4242)
    after, _ = inputs(data, start)
    assert computed.since() == 1
    old, new = by_image(before.train, 1), by_image(after.train, 1)
    place = [s.path.name for s in after.train.samples if s.path.parent.name == "down"].index(
        "03.jpg"
    )
    differs = ~(old == new).reshape(48, -1).all(axis=1)
    assert np.flatnonzero(differs).tolist() == [32 + place]


def test_a_changed_file_gets_all_its_views_again(
    data: Path, start: Path, computed: Computed
) -> None:
    inputs(data, start, augment="s1", views=3)
    computed.since()
    draw_stripes(data / "train" / "down" / "03.jpg", "down", 4242)
    inputs(data, start, augment="s1", views=3)
    assert computed.since() == 3


def test_added_removed_and_renamed_files_keep_the_rows_right(
    data: Path, start: Path, computed: Computed
) -> None:
    inputs(data, start)
    computed.since()
    (data / "train" / "across" / "00.jpg").unlink()
    (data / "train" / "aslant" / "05.jpg").rename(data / "train" / "aslant" / "zz.jpg")
    draw_stripes(data / "train" / "down" / "99.jpg", "down", 4243)
    changed, _ = inputs(data, start)
    assert computed.since() == 1
    shutil.rmtree(features_folder())
    anew, _ = inputs(data, start)
    assert np.array_equal(by_image(changed.train, 1), by_image(anew.train, 1))
    assert np.array_equal(by_image(changed.val, 1), by_image(anew.val, 1))


def test_views_belong_to_the_image_and_not_to_its_place(
    data: Path, start: Path, computed: Computed
) -> None:
    given = {"augment": "s1", "views": 1, "batch_size": 7}
    before, _ = inputs(data, start, **given)
    computed.since()
    draw_stripes(data / "train" / "across" / "-first.jpg", "across", 4243)
    after, _ = inputs(data, start, **given)
    assert computed.since() == 1
    assert np.array_equal(by_image(before.train, 1), by_image(after.train, 1)[1:])


def test_a_row_does_not_depend_on_what_is_computed_with_it(
    data: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run that goes on with some rows kept ends with other weights."""
    monkeypatch.setattr(feature_engine, "_onnxruntime_engine", lambda *_: None)
    deep = {"size": 64, "strategy": "head"}
    image = data / "train" / "down" / "03.jpg"
    kept = image.read_bytes()
    draw_stripes(image, "down", 4242)
    inputs(data, start, **deep)
    image.write_bytes(kept)
    one_by_one, _ = inputs(data, start, **deep)
    shutil.rmtree(features_folder())
    together, _ = inputs(data, start, **deep)
    assert np.array_equal(by_image(one_by_one.train, 1), by_image(together.train, 1))


# Room


def test_without_room_it_is_said_and_training_goes_through_pixels(
    stripes: Path, start: Path
) -> None:
    made, told = inputs(stripes, start, cache_gb=0.0005)
    assert isinstance(made.train, PixelSource)
    assert "features before layer1.0: 0.6 MB, more than --cache-gb 0.0005" in told.text
    assert entries() == []


def test_the_longest_unused_make_room_for_new_ones(stripes: Path, start: Path) -> None:
    for size in (32, 40):  # 0.59 MB and 0.92 MB
        inputs(stripes, start, size=size)
    inputs(stripes, start, size=32)  # used again, so 40 is the longest unused
    _, told = inputs(stripes, start, size=48, cache_gb=0.0021)  # 1.33 MB
    assert f"removed the features of {stripes} to make room" in told.text
    assert [entry.about.preprocessing["size"] for entry in entries()] == [32, 48]
    assert sum(entry.bytes for entry in entries()) < 2.1e6


def test_rows_of_the_same_data_count_too(data: Path, start: Path) -> None:
    inputs(data, start, cache_gb=0.0007)  # 0.59 MB
    for number in range(20):  # 0.16 MB
        draw_stripes(data / "train" / "down" / f"more-{number}.jpg", "down", 5000 + number)
    made, told = inputs(data, start, cache_gb=0.0007)
    assert sum(entry.bytes for entry in entries()) < 0.7e6
    assert isinstance(made.train, PixelSource)
    assert "more than --cache-gb 0.0007" in told.text


def test_features_too_large_for_float16_are_not_kept(
    stripes: Path, start: Path, tmp_path: Path
) -> None:
    state = read_weights(start)
    state["bn1.weight"] *= 1e6
    large = tmp_path / "large.safetensors"
    large.write_bytes(weights_bytes(state))
    made, told = inputs(stripes, large)
    assert isinstance(made.train, PixelSource)
    assert "the frozen part is computed each epoch: a feature is larger than float16" in told.text


def test_a_disk_that_fills_up_costs_the_features_and_not_the_run(
    stripes: Path, start: Path, tmp_path: Path
) -> None:
    desk = Desk(tmp_path)
    faults = [
        partial(at_call, "toolchain.training.feature_store:Filler.put", 9, fill_disk),
        partial(at_call, "toolchain.training.inputs:feature_sources", 1, empty_disk, after=True),
    ]
    words = [*COMMON, "--weights", start, "--strategy", "head", "--augment", "none"]
    ended = desk.finetune(stripes, *words, faults=faults, output="run")
    assert ended.status == 0, ended.output
    assert "can't be kept in cache/features: file too large" in ended.output
    pixels = desk.never_stopped(stripes, *words, "--no-cache")
    assert outcome(tmp_path / "run").weights == pixels.weights


# Several processes, and the end of one


def test_a_killed_pass_keeps_the_rows_that_it_finished(
    stripes: Path, tmp_path: Path, computed: Computed
) -> None:
    desk = Desk(tmp_path)
    faults = [rows_kept_at_once, killed_at("toolchain.training.feature_store:Filler.put", 31)]
    assert desk.finetune(stripes, *HEAD, faults=faults, output="killed").status == -9
    assert entry_of("clean").rows == 30
    assert desk.resume("killed").status == 0
    assert entry_of("clean").rows == 72
    (file,) = entry_of("clean").folder.glob("rows-*.f16")
    assert file.stat().st_size == 72 * 512 * 2, "each row was written once"
    shutil.rmtree(features_folder())
    assert desk.finetune(stripes, *HEAD, output="whole").status == 0
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_two_processes_compute_the_same_features_once(stripes: Path, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    together = partial(
        at_call, "toolchain.training.feature_store:Entry.filling", 1, partial(meet, 2)
    )
    both = [
        desk.start("finetune", stripes, *HEAD, "-o", name, faults=[together, slow_rows])
        for name in ("one", "other")
    ]
    ended = [running.ended() for running in both]
    assert [one.status for one in ended] == [0, 0]
    waited = "another run computes the same features; waiting for it"
    assert [waited in one.output for one in ended].count(True) == 1
    (file,) = entry_of("clean").folder.glob("rows-*.f16")
    assert file.stat().st_size == 72 * 512 * 2, "each row was written once"
    assert outcome(tmp_path / "one") == outcome(tmp_path / "other")


def slow_rows() -> None:
    """Let the first row wait a little, so that the other process comes while rows are filled in."""
    at_call("toolchain.training.feature_store:Filler.put", 1, partial(time.sleep, 0.5))


def test_clearing_the_cache_does_not_stop_a_run_that_fills_it(
    stripes: Path, tmp_path: Path
) -> None:
    desk = Desk(tmp_path)
    put = "toolchain.training.feature_store:Filler.put"
    ended = desk.finetune(stripes, *HEAD, faults=[partial(at_call, put, 20, clear)], output="run")
    assert ended.status == 0, ended.output


def test_clearing_the_cache_does_not_stop_a_run_that_trains_from_it(
    stripes: Path, tmp_path: Path
) -> None:
    desk = Desk(tmp_path)
    step = "toolchain.training.loop:Stepper.update"
    ended = desk.finetune(stripes, *HEAD, faults=[partial(at_call, step, 4, clear)], output="run")
    assert ended.status == 0, ended.output
    assert len(outcome(tmp_path / "run").metrics) == 4  # three epochs and the summary


def clear() -> None:
    from toolchain.training import feature_store

    assert feature_store.clear() > 0


def test_workers_can_be_started_afresh() -> None:
    """As on macOS and Windows, and from Python 3.14 on everywhere."""
    view = augmented_view(read_settings(None, {"augment": "s1", "size": 32}))
    assert view is not None
    again = pickle.loads(pickle.dumps(view))
    assert again.of_clean == view.of_clean


# The entry by itself


ABOUT = About(
    data="/data",
    arch="resnet18",
    boundary="fc",
    weights_sha256="0" * 64,
    preprocessing={"size": 32},
    rtl="0",
    view="clean",
    shape=(4,),
)


def fill(entry: Entry, names: list[str]) -> None:
    """Fill in rows that hold the number in their name."""
    with entry.filling(names, Silent()) as filler:
        for name in filler.missing:
            filler.put(np.full(4, int(name), dtype=np.float32))


def test_when_most_rows_are_out_of_date_they_go_and_who_reads_them_goes_on() -> None:
    entry = Entry(ABOUT)
    fill(entry, [str(number) for number in range(10)])
    rows, places = entry.read(["3", "7"])
    fill(entry, ["7", "100", "101"])
    assert rows[places, 0].tolist() == [3.0, 7.0]
    new_rows, new_places = entry.read(["101", "7", "100"])
    assert new_rows[new_places, 0].tolist() == [101.0, 7.0, 100.0]
    assert len(new_rows) == 3
    (file,) = entry.folder.glob("rows-*")
    assert file.stat().st_size == 3 * 4 * 2
    assert entry.missing(["3", "7"]) == ["3"]


def test_few_rows_out_of_date_stay_where_they_are() -> None:
    entry = Entry(ABOUT)
    fill(entry, ["1", "2", "3"])
    fill(entry, ["2", "3", "4"])
    assert entry.missing(["1", "2", "3", "4"]) == []


def test_a_row_asked_for_twice_is_kept_once() -> None:
    entry = Entry(ABOUT)
    fill(entry, ["1", "2", "1"])
    rows, places = entry.read(["1", "2", "1"])
    assert rows[places, 0].tolist() == [1.0, 2.0, 1.0]
    assert len(rows) == 2


def test_rows_before_an_error_are_kept() -> None:
    entry = Entry(ABOUT)
    with contextlib.suppress(KeyboardInterrupt), entry.filling(["1", "2", "3"], Silent()) as filler:
        filler.put(np.ones(4, dtype=np.float32))
        raise KeyboardInterrupt
    assert entry.missing(["1", "2", "3"]) == ["2", "3"]


@pytest.mark.parametrize("text", ["", '{"file": "rows-1.f16", "rows": {"1'])
def test_an_index_that_was_cut_off_costs_the_rows_only(text: str) -> None:
    entry = Entry(ABOUT)
    fill(entry, ["1", "2"])
    (entry.folder / "index.json").write_text(text)
    assert entry.missing(["1", "2"]) == ["1", "2"]
    fill(entry, ["2", "1"])
    rows, places = entry.read(["1", "2"])
    assert rows[places, 0].tolist() == [1.0, 2.0]


# The command


def test_the_cache_is_shown_and_removed_on_request(stripes: Path, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert "nothing is kept" in desk.rtl("cache").output
    assert json.loads(desk.rtl("cache", "--json").output)["entries"] == []
    assert desk.finetune(stripes, *HEAD, output="run").status == 0
    shown = json.loads(desk.rtl("cache", "--json").output)
    (entry,) = shown["entries"]
    assert shown["folder"] == str(tmp_path / "cache" / "features")
    assert (entry["data"], entry["boundary"], entry["rows"]) == (str(stripes), "fc", 72)
    assert entry["bytes"] >= 72 * 512 * 2
    assert str(stripes) in desk.rtl("cache").output
    ended = desk.rtl("cache", "clear")
    assert ended.output.startswith("removed 0.1 MB from ")
    assert not (tmp_path / "cache" / "features").exists()
    assert "nothing is kept" in desk.rtl("cache").output
    assert desk.rtl("cache", "clear").status == 0
