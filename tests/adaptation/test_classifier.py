"""The classifier in the bytes of an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from toolchain.adaptation.classifier import find_classifier, replaced
from toolchain.adaptation.features import FeatureModel
from toolchain.errors import ModelFileError
from toolchain.exporters.variants import Variant
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import generated_pixels


def test_weight_and_bias_are_those_that_onnx_reads(model: Path) -> None:
    data = model.read_bytes()
    weight, bias = find_classifier(data, model).read(data)
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(model).graph.initializer}
    assert np.array_equal(weight, tensors["classifier.network.fc.weight"])
    assert np.array_equal(bias, tensors["classifier.network.fc.bias"])


def test_a_file_with_its_own_classifier_is_the_same_file(model: Path) -> None:
    data = model.read_bytes()
    classifier = find_classifier(data, model)
    weight, bias = classifier.read(data)
    card = {e.key: e.value for e in onnx.load(model).metadata_props}["rtl.card"]
    made = replaced(data, classifier, weight, bias, card)
    assert sorted(made) == sorted(data)
    assert onnx.load_from_string(made) == onnx.load(model)


@pytest.mark.parametrize("kind", ["pixels", "tensor", "image"])
def test_features_lead_to_the_logits_whatever_the_input(
    kind: str, exported_as: Callable[[Variant], Path]
) -> None:
    path = exported_as(Variant("onnx", input=kind))  # type: ignore[arg-type]
    data, pixels = path.read_bytes(), generated_pixels(64)
    classifier = find_classifier(data, path)
    weight, bias = classifier.read(data)
    with Predictor(path, cache=False) as predictor:
        features = FeatureModel(data, classifier, predictor.card).of_pixels(pixels)
        logits = predictor.run(pixels).logits
    assert np.allclose(features @ weight.T + bias, logits, atol=1e-4)


def test_a_last_layer_in_another_type_is_refused(model: Path, tmp_path: Path) -> None:
    changed = onnx.load(model)
    tensor = next(t for t in changed.graph.initializer if t.name.endswith("fc.bias"))
    tensor.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(tensor).astype("f2"), tensor.name)
    )
    with pytest.raises(ModelFileError, match="its last layer is no layer in float32"):
        find_classifier(changed.SerializeToString(), tmp_path / "m.onnx")
