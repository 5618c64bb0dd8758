"""The modules: uint8 pixels in, logits and probabilities out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from toolchain.networks.resnet import (
    IMAGENET_NORMALISATION,
    Classifier,
    InferenceModel,
    build_network,
    on_meta_device,
)
from toolchain.networks.torchvision_import import import_torchvision
from toolchain.runs.settings import ARCHITECTURES
from toolchain.runtime.card import HeadStages


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_backbone_classifies_uint8_pixels(arch: str) -> None:
    with torch.device("meta"):  # drawing random weights takes seconds of the large ones
        network = build_network(arch, 5)
    classifier = Classifier(network.to_empty(device="cpu"), IMAGENET_NORMALISATION).eval()
    with torch.inference_mode():
        for parameter in network.parameters():
            parameter.zero_()
        logits = classifier(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    assert logits.shape == (1, 5)


def test_normalisation_equals_that_of_torchvision() -> None:
    network = torch.nn.Identity()
    pixels = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    found = Classifier(network, IMAGENET_NORMALISATION)(pixels)
    functional = import_torchvision().transforms.v2.functional
    scaled = functional.to_dtype(pixels.permute(0, 3, 1, 2), torch.float32, scale=True)
    expected = functional.normalize(
        scaled, list(IMAGENET_NORMALISATION.mean), list(IMAGENET_NORMALISATION.std)
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_probabilities_are_softmax_at_the_temperature() -> None:
    classifier = Classifier(build_network("resnet18", 3), IMAGENET_NORMALISATION).eval()
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        probabilities, logits = InferenceModel(classifier, 2.5)(pixels)
    torch.testing.assert_close(probabilities, torch.softmax(logits / 2.5, dim=1))


def test_multi_label_probabilities_are_independent_sigmoids() -> None:
    classifier = Classifier(build_network("resnet18", 3), IMAGENET_NORMALISATION).eval()
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        probabilities, logits = InferenceModel(classifier, 2.5, "multi-label")(pixels)
    torch.testing.assert_close(probabilities, torch.sigmoid(logits / 2.5))


READ = {"last-two": (3, 4), "all": (1, 2, 3, 4)}
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def expected_logits(network: nn.Module, arch: str, numbers: tuple[int, ...]) -> Tensor:
    """Return the logits of IMAGES by torchvision's own network, whose stages hooks read."""
    with on_meta_device():
        plain = import_torchvision().models.get_model(arch, weights=None)
    state = network.state_dict()
    head = [tensor for name, tensor in state.items() if name.startswith("fc.")]
    rest = {name: t for name, t in state.items() if not name.startswith("fc.")}
    plain.fc = nn.Identity()
    plain.load_state_dict(rest, assign=True)
    means: dict[int, Tensor] = {}
    for number in numbers:
        stage = plain.get_submodule(f"layer{number}")
        stage.register_forward_hook(
            lambda _, given, output, n=number: means.update({n: output.mean((2, 3))})
        )
    with torch.inference_mode():
        plain.eval()(IMAGES)
        pooled = torch.cat([means[number] for number in sorted(numbers)], 1)
        return functional.linear(pooled, *head)


@pytest.mark.parametrize(
    ("arch", "head_stages"),
    [
        *((arch, "all") for arch in ARCHITECTURES),
        ("resnet18", "last-two"),
        ("resnet50", "last-two"),
    ],
)
def test_logits_are_the_linear_layer_of_the_pooled_stages(
    arch: str, head_stages: HeadStages
) -> None:
    with on_meta_device():  # drawing torchvision's random weights takes seconds of the large ones
        network = build_network(arch, 3, head_stages=head_stages)
    network = network.to_empty(device="cpu").eval()
    torch.manual_seed(0)
    with torch.inference_mode():
        for name, tensor in network.state_dict().items():
            if tensor.ndim > 1:
                tensor.uniform_(-1, 1).div_((tensor[0].numel() / 3) ** 0.5)
            else:
                tensor.fill_(0.0 if name.endswith(("bias", "mean", "tracked")) else 1.0)
        found = network(IMAGES)
    torch.testing.assert_close(found, expected_logits(network, arch, READ[head_stages]))
