"""Weights: read from files, loaded where they fit, refused where they don't."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from toolchain.errors import TrainingError
from toolchain.networks.resnet import build_network
from toolchain.networks.weights import read_weights, start_classifier, state_sha256
from toolchain.progress import SilentReporter


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_other_classes_start_the_backbone_but_not_the_head(
    tmp_path: Path, suffix: str
) -> None:
    state = build_network("resnet18", 7).state_dict()
    path = tmp_path / f"seven{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    classifier, origin = start_classifier(
        "resnet18", 3, str(path), dropout=0.0, progress=SilentReporter()
    )
    assert origin == f"file {path.name}"
    started = classifier.network.state_dict()
    torch.testing.assert_close(started["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    assert started["fc.weight"].shape == (3, 512)


def test_half_precision_weights_become_float32(shared: Path) -> None:
    state = read_weights(shared / "weights" / "resnet18-imagenet-partial.safetensors")
    assert state["conv1.weight"].dtype == torch.float32
    assert state["bn1.num_batches_tracked"].dtype == torch.int64


def test_weights_of_another_architecture_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "r18.safetensors"
    save_file(build_network("resnet18", 2).state_dict(), path)
    with pytest.raises(TrainingError, match="don't fit resnet50: lacks layer1"):
        start_classifier("resnet50", 2, str(path), dropout=0.0, progress=SilentReporter())


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.safetensors", b"no"), ("b.pth", b"no"), ("c.pth", None), ("d.pth", b"\x80\x04K\x01.")],
)
def test_files_that_are_not_weights_are_refused(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingError, match=name):
        read_weights(path)


def test_the_digest_depends_on_the_values_alone() -> None:
    state = build_network("resnet18", 2).state_dict()
    same = {name: tensor.clone() for name, tensor in reversed(state.items())}
    assert state_sha256(state) == state_sha256(same)
    same["fc.bias"] = same["fc.bias"] + np.float32(1e-3)
    assert state_sha256(state) != state_sha256(same)
