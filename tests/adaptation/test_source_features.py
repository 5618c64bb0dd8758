"""The features that are stored beside a model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolchain.adaptation.source_features import (
    SourceFeatures,
    features_file,
    read_source_features,
    write_source_features,
)
from toolchain.errors import ModelFileError


def some(width: int = 8) -> SourceFeatures:
    features = np.random.default_rng(0).normal(size=(12, width)).astype(np.float32)
    return SourceFeatures(features, np.arange(12) % 3)


def test_what_is_written_is_read_within_half_precision(tmp_path: Path) -> None:
    write_source_features(some(), tmp_path / "f.npz")
    found = read_source_features(tmp_path / "f.npz", 8, 3)
    assert np.allclose(found.features, some().features, rtol=1e-3, atol=1e-4)
    assert found.labels.tolist() == some().labels.tolist()


@pytest.mark.parametrize(("width", "classes"), [(9, 3), (8, 2)])
def test_features_of_another_model_are_refused(tmp_path: Path, width: int, classes: int) -> None:
    write_source_features(some(), tmp_path / "f.npz")
    with pytest.raises(ModelFileError, match=r"f\.npz"):
        read_source_features(tmp_path / "f.npz", width, classes)


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    zeros = np.zeros((1 << 16, 1 << 10), np.float16)
    np.savez_compressed(tmp_path / "f.npz", features=zeros, labels=np.zeros(1 << 16, np.int32))
    with pytest.raises(ModelFileError, match="unpacks to"):
        read_source_features(tmp_path / "f.npz", 1 << 10, 3)


def test_an_export_stores_the_features_of_training_images(model: Path) -> None:
    found = read_source_features(features_file(model), 512, 3)
    assert np.bincount(found.labels).tolist() == [16, 16, 16]
    assert (found.features >= 0).all()  # they come from a ReLU
