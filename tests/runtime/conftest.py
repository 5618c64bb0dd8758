"""What the tests of the runtime share: the same run behind every door."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def doors(
    run_folder: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Model files of one run, by what their graphs take; `batch` takes three pixels at a time."""
    from toolchain.export.export import export, kept
    from toolchain.export.variants import Variant

    folder = tmp_path_factory.mktemp("doors")
    wanted = [Variant(input="tensor"), Variant(input="image"), Variant(batch=3)]
    tensor, image, batch = kept(export(run_folder, wanted, folder, images=6))
    return {"pixels": model, "tensor": tensor.path, "image": image.path, "batch": batch.path}
