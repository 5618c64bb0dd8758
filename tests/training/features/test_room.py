"""The space that kept features take: bounds, removal of unused ones, and `rtl cache`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from tests.conftest import draw_stripes
from tests.training.features.kept import inputs
from tests.training.sandbox import HEAD, SMALL, Sandbox, at_call, empty_disk, fill_disk, outcome
from toolchain.networks.weights import read_weights, weights_bytes
from toolchain.training.features.store import entries
from toolchain.training.inputs.samples import PixelSource


def test_training_uses_pixels_where_the_features_do_not_fit(stripes: Path, start: Path) -> None:
    made, progress = inputs(stripes, start, cache_gb=0.0005)
    assert isinstance(made.train, PixelSource)
    assert "features before layer1.0: 0.6 MB, more than --cache-gb 0.0005" in progress.text
    assert entries() == []


def test_the_longest_unused_are_removed_for_new_ones(stripes: Path, start: Path) -> None:
    for size in (32, 40):  # 0.59 MB and 0.92 MB
        inputs(stripes, start, size=size)
    inputs(stripes, start, size=32)  # used again, so 40 is the longest unused
    _, progress = inputs(stripes, start, size=48, cache_gb=0.0021)  # 1.33 MB
    assert f"removed the features of {stripes} to make room" in progress.text
    assert [entry.key.preprocessing["size"] for entry in entries()] == [32, 48]
    assert sum(entry.bytes for entry in entries()) < 2.1e6


def test_rows_of_the_same_entry_count_towards_the_bound(data: Path, start: Path) -> None:
    inputs(data, start, cache_gb=0.0007)  # 0.59 MB
    for number in range(20):  # 0.16 MB
        draw_stripes(data / "train" / "down" / f"more-{number}.jpg", "down", 5000 + number)
    made, progress = inputs(data, start, cache_gb=0.0007)
    assert sum(entry.bytes for entry in entries()) < 0.7e6
    assert isinstance(made.train, PixelSource)
    assert "more than --cache-gb 0.0007" in progress.text


def test_features_too_large_for_float16_are_not_kept(
    stripes: Path, start: Path, tmp_path: Path
) -> None:
    state = read_weights(start)
    state["bn1.weight"] *= 1e6
    large = tmp_path / "large.safetensors"
    large.write_bytes(weights_bytes(state))
    made, progress = inputs(stripes, large)
    assert isinstance(made.train, PixelSource)
    assert (
        "the frozen part is computed each epoch: a feature is larger than float16" in progress.text
    )


def test_training_uses_pixels_where_the_disk_fills_up(
    stripes: Path, start: Path, tmp_path: Path
) -> None:
    sandbox = Sandbox(tmp_path)
    faults = [
        partial(at_call, "toolchain.training.features.store:FeatureWriter.put", 9, fill_disk),
        partial(
            at_call, "toolchain.training.stage_inputs:feature_sources", 1, empty_disk, after=True
        ),
    ]
    arguments = [*SMALL, "--weights", start, "--strategy", "head", "--augment", "none"]
    ended = sandbox.finetune(stripes, *arguments, faults=faults, output="run")
    assert ended.status == 0, ended.output
    assert "can't be kept in cache/features: file too large" in ended.output
    pixels = sandbox.never_stopped(stripes, *arguments, "--no-cache")
    assert outcome(tmp_path / "run").weights == pixels.weights


def test_features_are_listed_and_removed_by_rtl_cache(stripes: Path, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    assert "nothing is kept" in sandbox.rtl("cache").output
    assert json.loads(sandbox.rtl("cache", "--json").output)["entries"] == []
    assert sandbox.finetune(stripes, *HEAD, output="run").status == 0
    shown = json.loads(sandbox.rtl("cache", "--json").output)
    (entry,) = shown["entries"]
    assert shown["folder"] == str(tmp_path / "cache" / "features")
    assert (entry["data"], entry["boundary"], entry["rows"]) == (str(stripes), "fc", 72)
    assert entry["bytes"] >= 72 * 512 * 2
    assert str(stripes) in sandbox.rtl("cache").output
    ended = sandbox.rtl("cache", "clear")
    assert ended.output.startswith("removed 0.1 MB from ")
    assert not (tmp_path / "cache" / "features").exists()
    assert "nothing is kept" in sandbox.rtl("cache").output
    assert sandbox.rtl("cache", "clear").status == 0
