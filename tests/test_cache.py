"""Listing and removing what rtl keeps on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.runtime.tiny import tiny_model, write
from toolchain import Predictor
from toolchain.cache import EngineEntry, FeaturesEntry, clear_caches, list_caches
from toolchain.progress import SilentReporter
from toolchain.training.features.store import SCHEMA, CacheKey, Entry


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with two rows of features and one model."""
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path / "cache"))
    key = CacheKey(
        data="/data",
        arch="resnet18",
        boundary="fc",
        weights_sha256="0" * 64,
        preprocessing={},
        view="clean",
        shape=(4,),
        schema=SCHEMA,
    )
    with Entry(key).writing(["a", "b"], SilentReporter()) as writer:
        for _ in writer.missing:
            writer.put(np.zeros(4, np.float32))
    Predictor(write(tiny_model(), tmp_path / "tiny.onnx")).close()
    return tmp_path / "cache"


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*/*"))


def test_both_caches_are_listed(cache: Path, tmp_path: Path) -> None:
    found = list_caches()
    assert (found.version, found.folder) == (1, str(cache / "features"))
    assert found.entries == [
        FeaturesEntry(
            data="/data",
            arch="resnet18",
            boundary="fc",
            view="clean",
            rows=2,
            bytes=size(cache / "features"),
        )
    ]
    assert found.engines.folder == str(cache / "engines")
    model = EngineEntry(str(tmp_path / "tiny.onnx"), size(cache / "engines"))
    assert found.engines.entries == [model]


def test_both_caches_are_removed(cache: Path) -> None:
    sizes = [size(cache / name) for name in ("features", "engines")]
    cleared = clear_caches()
    assert [(Path(one.folder).name, one.bytes) for one in cleared] == [
        ("features", sizes[0]),
        ("engines", sizes[1]),
        ("searches", 0),
    ]
    assert list(cache.iterdir()) == []
    assert list_caches().entries == []
    assert list_caches().engines.entries == []
