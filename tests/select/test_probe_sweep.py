"""The sweep of linear probes: the features that separate win, noise is penalised, time ends it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from toolchain.data.layouts import Sample
from toolchain.networks.split import STAGES
from toolchain.select.folds import grouped_folds
from toolchain.select.inputs import Pool
from toolchain.select.probe_sweep import PENALTIES, sweep_probes

LABELS = np.arange(60) % 3
SAMPLES = tuple(Sample(Path(f"{n}.jpg"), int(label)) for n, label in enumerate(LABELS))
POOL = Pool(SAMPLES, grouped_folds(LABELS, [f"{n}" for n in range(60)], 5))
NOISE = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
CLEAR = NOISE + 5 * np.eye(20, dtype=np.float32)[LABELS]
LATER = 1e9


def test_the_last_stage_comes_first_and_features_that_separate_are_right() -> None:
    features = dict.fromkeys(STAGES, NOISE) | {"layer4": CLEAR}
    probes = sweep_probes(features, POOL, 3, time.monotonic() + LATER)
    assert [probe.features for probe in probes][:3] == [
        "layer4",
        "layer3 and layer4",
        "all four stages",
    ]
    assert [probe.head_stages for probe in probes] == ["last", "last-two", "all", None, None, None]
    assert probes[0].all_right.all()
    assert next(p for p in probes if p.features == "layer1").all_right.mean() < 0.6


def test_noise_gets_the_strongest_penalty() -> None:
    probes = sweep_probes(dict.fromkeys(STAGES, NOISE), POOL, 3, time.monotonic() + LATER)
    assert probes[0].l2 == PENALTIES[0]


def test_out_of_time_there_is_one_probe_on_the_last_stage() -> None:
    probes = sweep_probes(dict.fromkeys(STAGES, CLEAR), POOL, 3, time.monotonic() - 1)
    assert [(probe.features, probe.l2) for probe in probes] == [("layer4", PENALTIES[0])]


def test_each_image_is_answered_in_its_own_fold() -> None:
    [probe, *_] = sweep_probes(dict.fromkeys(STAGES, CLEAR), POOL, 3, time.monotonic())
    for fold in POOL.folds:
        assert len(probe.right[fold]) == (POOL.fold_of == fold).sum()
