"""Shared fixtures: an empty cache, initial weights, and a counter of computed rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.training.features.kept import Computed
from toolchain.networks.resnet import build_network
from toolchain.networks.weights import weights_bytes
from toolchain.training.features.store import FeatureWriter


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Computed:
    counter, put = Computed(), FeatureWriter.put

    def counted(writer: FeatureWriter, row: NDArray[np.float32]) -> None:
        counter.rows += 1
        put(writer, row)

    monkeypatch.setattr(FeatureWriter, "put", counted)
    return counter


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache of this test."""
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Initial weights, the same in all of these tests."""
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    path.write_bytes(weights_bytes(build_network("resnet18", 3).state_dict()))
    return path


@pytest.fixture
def data(stripes: Path, tmp_path: Path) -> Path:
    """A copy of the data set (48 training and 24 validation images), which a test may change."""
    shutil.copytree(stripes, tmp_path / "data")
    return tmp_path / "data"
