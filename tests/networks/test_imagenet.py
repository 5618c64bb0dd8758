"""ImageNet weights: cached, or an error that says what to do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from toolchain.errors import TrainingError
from toolchain.networks import imagenet
from toolchain.networks.resnet import build_network
from toolchain.progress import SilentReporter


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_without_internet_the_error_says_within_seconds_where_to_put_the_file(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A local port that nothing listens on.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(TrainingError, match="not cached") as caught:
        imagenet.imagenet_state("resnet18", SilentReporter())
    assert time.monotonic() - started < imagenet.ANSWER_TIMEOUT_S + 5
    assert str(cache) in str(caught.value.hint)


def test_cached_weights_need_no_internet(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # torch checks the digest in the file name on download only, so any content will do.
    state = build_network("resnet18", 1000).state_dict()
    path = cache / "resnet18-f37072fd.pth"
    torch.save(state, path)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    found, origin = imagenet.imagenet_state("resnet18", SilentReporter())
    torch.testing.assert_close(found["conv1.weight"], state["conv1.weight"])
    assert origin == "torchvision ResNet18_Weights.IMAGENET1K_V1"
