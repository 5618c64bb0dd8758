"""Pooled features of all stages: computed once, and what the parts of the network give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from toolchain.networks.resnet import with_head_stages
from toolchain.networks.split import STAGES, FrozenBackbone, StagePooling, network_parts
from toolchain.progress import SilentReporter
from toolchain.runs.settings_file import read_settings
from toolchain.runtime.card import HeadStages
from toolchain.training.data import read_data
from toolchain.training.distributed import Processes
from toolchain.training.features.compute import FeatureSpec
from toolchain.training.features.pooled import read_features, stage_features
from toolchain.training.features.source import feature_sources
from toolchain.training.inputs.order import Order
from toolchain.training.setup import preprocessing_of
from toolchain.training.starting_weights import make_starting_weights


class Counting(SilentReporter):
    """Counts what is computed."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    def track(self, items, label, total):  # type: ignore[no-untyped-def]
        self.labels.append(label)
        return iter(items)


@pytest.fixture
def spec(
    stripes: Path, random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FeatureSpec:
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path / "cache"))
    given = {"data": str(stripes), "weights": str(random_weights), "size": 32, "workers": 0}
    settings = read_settings(None, given | {"augment": "none"})
    dataset, _ = read_data(settings, None, Processes(), SilentReporter())
    classifier = make_starting_weights(settings, dataset.classes, SilentReporter()).classifier
    parts = [name for name, _ in network_parts(classifier.network)]
    return FeatureSpec(
        classifier=classifier,
        frozen=parts.index("fc"),
        dataset=dataset,
        preprocessing=preprocessing_of(settings),
        settings=settings,
        views=0,
        device=torch.device("cpu"),
    )


def test_each_stage_is_pooled_as_the_network_computes_it(spec: FeatureSpec) -> None:
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    pooling = StagePooling(spec.classifier).eval()
    parts = [name for name, _ in network_parts(spec.classifier.network)]
    with torch.inference_mode():
        pooled = pooling(pixels).split(pooling.widths, dim=1)
        for stage, found in zip(STAGES, pooled, strict=True):
            last = max(index for index, name in enumerate(parts) if name.startswith(stage))
            expected = FrozenBackbone(spec.classifier, last + 1).eval()(pixels).mean((2, 3))
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("head_stages", get_args(HeadStages))
def test_what_was_kept_is_not_computed_again_and_serves_strategy_head_to_the_bit(
    spec: FeatureSpec, head_stages: HeadStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(spec, classifier=with_head_stages(spec.classifier, head_stages))
    samples = spec.dataset.train
    stage_features(spec, samples, Counting())
    again = Counting()
    stage_features(spec, samples, again)
    assert again.labels == []
    rows = _head_rows(spec, computed := Counting())
    assert len(computed.labels) == 1  # of the validation images
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path / "another"))
    assert np.array_equal(rows, _head_rows(spec, Counting()))
    features = read_features(spec, samples, SilentReporter())
    assert np.array_equal(rows, features.astype(np.float16))


def test_the_features_of_one_pass_serve_heads_that_read_more(spec: FeatureSpec) -> None:
    stage_features(spec, spec.dataset.train, Counting())
    several = replace(spec, classifier=with_head_stages(spec.classifier, "all"))
    read_features(several, spec.dataset.train, again := Counting())
    rows = _head_rows(several, computed := Counting())
    assert rows.shape == (48, 960)
    assert again.labels == []
    assert len(computed.labels) == 1, "the training images would pass again"


def test_without_a_cache_they_are_computed_all_the_same(
    spec: FeatureSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = stage_features(spec, spec.dataset.val, SilentReporter())
    computed = stage_features(spec, spec.dataset.val, counting := Counting(), keep=False)
    assert len(counting.labels) == 1
    for stage in STAGES:
        assert np.allclose(kept[stage], computed[stage], atol=1e-2)


def _head_rows(spec: FeatureSpec, progress: Counting) -> np.ndarray:
    """Return the features that strategy head trains from, of the training images in order."""
    orders = (Order(spec.dataset.train, 8, seed=0), Order(spec.dataset.val, 8, seed=None))
    sources = feature_sources(spec, orders, Processes(), progress)
    assert sources is not None
    return np.asarray(sources[0].rows[sources[0].row_of[:, 0]])
