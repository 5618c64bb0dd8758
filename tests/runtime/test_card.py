"""The card is read back as it was written; invalid cards are refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from toolchain.errors import ModelFileError
from toolchain.runtime.card import (
    SCHEMA_VERSION,
    Acceptance,
    Card,
    Metrics,
    Normalisation,
    Preprocessing,
    Proof,
    Weights,
    decode_card,
    encode_card,
)


def some_card() -> Card:
    return Card(
        classes=("crème brûlée", "ramen", "寿司"),
        preprocessing=Preprocessing(mode="squash", size=64, background=(1, 2, 3)),
        normalisation=Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        temperature=1.37,
        threshold=0.5,
        architecture="resnet18",
        weights=Weights(origin="imagenet", sha256="ab" * 32),
        settings_sha256="cd" * 32,
        data_sha256="ef" * 32,
        metrics=Metrics(
            split="val", images=24, accuracy=0.75, accuracy_interval=(0.55, 0.88), macro_f1=0.74
        ),
        versions={"torch": "2.8.0"},
        format="onnx",
        opset=17,
        lowest_onnxruntime="1.18",
        proof=Proof(formula="waves-1", logits=((0.1, -2.5, 1e-7),), tolerance=1e-3),
        created="2025-01-02T03:04:05Z",
    )


def changed(**changes: Any) -> str:
    """Return the JSON of a valid card with some keys replaced; `a__b` is the key `b` inside `a`."""
    content = json.loads(encode_card(some_card()))
    for key, value in changes.items():
        *parents, last = key.split("__")
        target = content
        for parent in parents:
            target = target[parent]
        target[last] = value
    return json.dumps(content)


def test_card_that_is_written_is_read_back_the_same() -> None:
    assert decode_card(encode_card(some_card()), source="x") == some_card()
    assert decode_card(encode_card(some_card()).encode(), source="x") == some_card()


def test_card_is_json_that_any_language_reads() -> None:
    content = json.loads(encode_card(some_card()))
    assert content["schema_version"] == SCHEMA_VERSION
    assert content["classes"] == ["crème brûlée", "ramen", "寿司"]
    assert content["preprocessing"]["background"] == [1, 2, 3]


def test_error_of_a_newer_card_names_both_versions_and_the_upgrade() -> None:
    text = json.dumps({"schema_version": SCHEMA_VERSION + 1, "shape": "of the future"})
    with pytest.raises(ModelFileError) as caught:
        decode_card(text, source="model.onnx")
    message = str(caught.value)
    assert "model.onnx" in message
    assert f"version {SCHEMA_VERSION + 1}" in message
    assert f"up to {SCHEMA_VERSION}" in message
    assert "upgrade" in str(caught.value.hint)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "hello", "{}", b"\xff\xfe\x00", '{"schema_version": "one"}'],
)
def test_other_text_than_a_card_is_refused_in_one_line(text: str | bytes) -> None:
    with pytest.raises(ModelFileError) as caught:
        decode_card(text, source="model.onnx")
    assert "the card of model.onnx can't be read" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"classes": ["a", "b", "a"]}, "twice"),
        ({"classes": ["a"]}, "classes"),
        ({"classes": ["a", 7]}, "classes"),
        ({"task": "regression"}, "task"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": None}, "temperature"),
        ({"threshold": 1.5}, "threshold"),
        ({"preprocessing__mode": "crop", "preprocessing__resize_size": 32}, "resize_size"),
        ({"preprocessing__mode": "stretch"}, "preprocessing.mode"),
        ({"preprocessing__size": 0}, "preprocessing.size"),
        ({"preprocessing__background": [0, 0, 256]}, "preprocessing.background"),
        ({"preprocessing__background": [0, 0]}, "preprocessing.background"),
        ({"preprocessing__decode_scale": -1}, "preprocessing.decode_scale"),
        ({"metrics__accuracy": 97.5}, "metrics.accuracy"),
        ({"proof__formula": "waves-2"}, "proof.formula"),
        ({"proof__tolerance": 0}, "proof.tolerance"),
        ({"input": "bytes"}, "input"),
        ({"precision": "int4"}, "precision"),
        ({"format": "coreml"}, "format"),
        ({"batch": 0}, "batch"),
        ({"trained_size": -1}, "trained_size"),
        ({"acceptance": {"images": 0}}, "acceptance.images"),
    ],
)
def test_bad_value_is_refused_and_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        decode_card(changed(**changes), source="model.onnx")
    assert named in str(caught.value)


@pytest.mark.parametrize("key", ["classes", "preprocessing", "normalisation", "architecture"])
def test_card_without_a_needed_key_is_refused_and_the_key_named(key: str) -> None:
    content = json.loads(encode_card(some_card()))
    del content[key]
    with pytest.raises(ModelFileError, match=key):
        decode_card(json.dumps(content), source="model.onnx")


@pytest.mark.parametrize("version", [0, -1])
def test_version_that_never_existed_is_refused(version: int) -> None:
    with pytest.raises(ModelFileError):
        decode_card(changed(schema_version=version), source="model.onnx")


def test_unknown_key_is_ignored() -> None:
    text = changed(note="from a later rtl of the same schema", preprocessing__note="too")
    assert decode_card(text, source="x") == some_card()


def test_deeply_nested_card_is_refused() -> None:
    with pytest.raises(ModelFileError, match="can't be read"):
        decode_card('{"schema_version": 1, "x": ' + "[" * 100_000, source="model.onnx")


def test_a_card_that_is_no_utf_8_is_refused() -> None:
    damaged = encode_card(some_card()).encode().replace("é".encode(), b"\xe9")
    with pytest.raises(ModelFileError, match="can't be read"):
        decode_card(damaged, source="model.onnx")


def test_card_without_the_newer_keys_is_of_fp32_pixels_of_any_batch() -> None:
    content = json.loads(encode_card(some_card()))
    for key in ("precision", "input", "batch", "trained_size", "acceptance", "ir_version"):
        del content[key]
    card = decode_card(json.dumps(content), source="x")
    assert (card.precision, card.input, card.batch) == ("fp32", "pixels", None)
    assert (card.trained_size, card.acceptance, card.ir_version) == (None, None, None)


def test_acceptance_of_a_lower_precision_is_read_back_with_its_drop() -> None:
    found = Acceptance(
        images=200,
        accuracy_before=0.95,
        accuracy_after=0.94,
        p_value=0.5,
        max_drop=0.02,
        flips=3,
        max_flips=0.02,
        calibration="minmax, 128 images",
        kept_float=("conv1",),
    )
    card = msgspec.structs.replace(some_card(), precision="int8", acceptance=found)
    read = decode_card(encode_card(card), source="x").acceptance
    assert read == found
    assert read is not None
    assert read.drop == pytest.approx(0.01)


def test_crop_larger_than_the_resized_image_is_refused() -> None:
    with pytest.raises(ValueError, match="resize_size 200 is smaller than size 224"):
        Preprocessing(size=224, resize_size=200)


def test_needed_side_is_the_resize_for_crop_and_the_size_for_squash() -> None:
    assert Preprocessing(mode="crop", size=224, resize_size=256).needed == 256
    assert Preprocessing(mode="squash", size=224, resize_size=256).needed == 224


@pytest.mark.parametrize(("threshold", "expected"), [(None, 0.5), (0.3, 0.3), (0.0, 0.0)])
def test_multi_label_threshold_is_one_half_unless_the_card_has_one(
    threshold: float | None, expected: float
) -> None:
    text = changed(task="multi-label", threshold=threshold)
    assert decode_card(text, source="x").label_threshold == expected


def test_metrics_of_an_older_card_lack_what_was_added() -> None:
    metrics = decode_card(encode_card(some_card()), source="x").metrics
    assert metrics is not None
    assert (metrics.auc, metrics.calibration_error) == (None, None)
    content = json.loads(changed(metrics__auc=0.875, metrics__calibration_error=0.01))
    del content["metrics"]["auc"]
    found = decode_card(json.dumps(content), source="x").metrics
    assert found is not None
    assert (found.auc, found.calibration_error) == (None, 0.01)
