"""`open_backend` opens every format with its backend, and all backends give the same outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolchain.backends.backend import open_backend
from toolchain.backends.torch_eager import EagerBackend
from toolchain.backends.torchscript import TorchScriptBackend
from toolchain.errors import ModelFileError, ProviderError
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import generated_pixels

FILES = {"model.onnx": Predictor, "model.torchscript.pt": TorchScriptBackend}


@pytest.fixture(scope="module")
def eager(run_folder: Path) -> EagerBackend:
    run = TrainedRun.open(run_folder)
    return EagerBackend(run.classifier, run.card)


@pytest.mark.parametrize("file", FILES)
def test_each_format_has_its_backend_and_the_outputs_of_the_trained_model(
    exported: Path, eager: EagerBackend, file: str
) -> None:
    backend = open_backend(exported / file)
    assert isinstance(backend, FILES[file])
    pixels = generated_pixels(64)
    found, expected = backend.run(pixels), eager.run(pixels)
    assert type(found) is type(expected) is ModelOutputs
    for values, reference in zip(found, expected, strict=True):
        assert values.dtype == np.float32
        assert values.shape == (4, 3)
        np.testing.assert_allclose(values, reference, atol=1e-4)


def test_a_network_that_was_left_in_train_mode_is_computed_in_eval_mode(
    eager: EagerBackend,
) -> None:
    pixels = generated_pixels(64)
    expected = eager.run(pixels).logits
    eager.classifier.train()
    np.testing.assert_array_equal(eager.run(pixels).logits, expected)
    assert not eager.classifier.training


@pytest.mark.parametrize("file", FILES)
def test_a_provider_that_is_missing_is_an_error(exported: Path, file: str) -> None:
    with pytest.raises(ProviderError, match="'tensorrt' is not available"):
        open_backend(exported / file, provider="tensorrt")


def test_truncated_torchscript_is_an_error_that_names_the_file(
    exported: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.torchscript.pt"
    path.write_bytes((exported / path.name).read_bytes()[:1_000_000])
    with pytest.raises(ModelFileError, match=r"model\.torchscript\.pt"):
        open_backend(path)
