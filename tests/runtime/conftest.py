"""Shared fixtures: a run exported with every kind of input, and a filled model cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.modelcache.engines import Kept, large_model, logits_of
from toolchain.exporters.variants import Variant
from toolchain.runtime import session
from toolchain.runtime.modelcache import store


@pytest.fixture(scope="session")
def models_by_input(model: Path, exported_as: Callable[[Variant], Path]) -> dict[str, Path]:
    """Model files of one run by the input of their graphs; `batch` is for batches of three."""
    return {
        "pixels": model,
        "tensor": exported_as(Variant(input="tensor")),
        "image": exported_as(Variant(input="image", opset=21)),
        "batch": exported_as(Variant(batch=3, opset=19)),
    }


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all caches, which does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RTL_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return large_model(tmp_path / "model.onnx")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that onnxruntime opens during the test, in order."""
    files: list[Path] = []
    real = session._opened

    def noted(path: Path, *args: Any, **options: Any) -> Any:
        files.append(path.resolve())  # a kept model is opened by its folder's descriptor
        return real(path, *args, **options)

    monkeypatch.setattr(session, "_opened", noted)
    return files


@pytest.fixture
def kept(large: Path, cache: Path) -> Kept:
    """A model that has been opened once, so that it has an entry."""
    expected = logits_of(large, cache=False)
    logits_of(large)
    (entry,) = store.entries()
    return Kept(large, entry.folder, expected)
