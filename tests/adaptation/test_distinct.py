"""Photographs that are nearly the same count once."""

from __future__ import annotations

import numpy as np

from toolchain.adaptation.distinct import distinct


def test_copies_and_frames_of_one_scene_count_once() -> None:
    random = np.random.default_rng(0)
    source, target = (random.normal(size=(40, 16)).astype(np.float32) for _ in range(2))
    frames = target[:10] + random.normal(scale=0.01, size=(10, 16)).astype(np.float32)
    assert list(distinct(np.concatenate([target, target, frames]), source)) == list(range(40))


def test_one_training_image_leaves_copies_alone_to_find() -> None:
    features = np.array([[1, 2], [1, 2], [1, 3]], np.float32)
    assert list(distinct(features, features[:1])) == [0, 2]
