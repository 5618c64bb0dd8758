"""Names of layers: torch's module names, with calls numbered from the second on."""

from __future__ import annotations

import pytest

from toolchain.backends.layer_names import call_name, called_module, is_layer, layer_name


def test_the_first_call_has_the_modules_name_and_later_ones_a_number() -> None:
    assert [call_name("layer1.0.relu", call) for call in (1, 2, 3)] == [
        "layer1.0.relu",
        "layer1.0.relu#2",
        "layer1.0.relu#3",
    ]
    assert called_module("layer1.0.relu#2") == called_module("layer1.0.relu") == "layer1.0.relu"


@pytest.mark.parametrize("name", ["normalise", "logits", "conv1", "layer1.0.relu#2", "fc"])
def test_tensors_that_are_named_after_layers_are_layers(name: str) -> None:
    assert is_layer(name)


@pytest.mark.parametrize("name", ["probabilities", "getitem_3", "layer"])
def test_tensors_that_an_exporter_named_are_no_layers(name: str) -> None:
    assert not is_layer(name)


def test_only_modules_of_the_network_have_a_layer_name() -> None:
    assert layer_name("classifier.network.layer1.0.conv1") == "layer1.0.conv1"
    assert layer_name("classifier.mean") is None
    assert layer_name("layer1.0.conv1") is None
    assert layer_name("") is None
