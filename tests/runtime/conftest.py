"""What the tests of the runtime share: a run behind every door, and the engine cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runtime.modelcache.engines import Kept, answer, large_model
from toolchain.runtime import session
from toolchain.runtime.modelcache import store


@pytest.fixture(scope="session")
def doors(
    run_folder: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Model files of one run, by what their graphs take; `batch` takes three pixels at a time."""
    from toolchain.exporters.export import accepted_models, export
    from toolchain.exporters.variants import Variant

    folder = tmp_path_factory.mktemp("doors")
    wanted = [Variant(input="tensor"), Variant(input="image"), Variant(batch=3)]
    tensor, image, batch = accepted_models(export(run_folder, wanted, folder, images=6))
    return {"pixels": model, "tensor": tensor.path, "image": image.path, "batch": batch.path}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all caches, which is not there yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RTL_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return large_model(tmp_path / "model.onnx")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that onnxruntime opens from now on."""
    files: list[Path] = []
    real = session._opened

    def noted(path: Path, *args: Any, **options: Any) -> Any:
        files.append(path)
        return real(path, *args, **options)

    monkeypatch.setattr(session, "_opened", noted)
    return files


@pytest.fixture
def accepted_models(large: Path, cache: Path) -> Kept:
    right = answer(large, cache=False)
    answer(large)
    (entry,) = store.entries()
    return Kept(large, entry.folder, right)
