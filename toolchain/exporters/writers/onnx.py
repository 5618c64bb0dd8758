"""Write an ONNX file: with the card, layers named as in torch, and no paths of this machine."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch

from toolchain.backends.layer_names import NORMALISE, call_name, layer_name
from toolchain.errors import MissingExtraError
from toolchain.exporters.variants import OPSETS
from toolchain.exporters.writers.image_input import with_image_input
from toolchain.exporters.writers.interchange import declare_types, ease_interchange
from toolchain.exporters.writers.traced import (
    example,
    free_axes,
    traced,
    traced_input_name,
    without_garbage_collector,
)
from toolchain.extras import missing_extra
from toolchain.networks.resnet import InferenceModel
from toolchain.runtime.card import CARD_KEY, OUTPUT_NAMES, Card, encode_card

SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata key under which torch notes the path of the module that a node comes from."""


def write_onnx(inference_model: InferenceModel, card: Card, path: Path) -> None:
    """Write the model to `path`, with the input kind, batch and precision of its card."""
    finish(build_onnx(inference_model, card), card, path)


def build_onnx(inference_model: InferenceModel, card: Card) -> onnx.ModelProto:
    """Return the model in float32 or float16, with the card's input kind and without the card."""
    with _quiet(), without_garbage_collector():
        try:
            program = torch.onnx.export(
                traced(inference_model, card),
                (example(card),),
                dynamo=True,
                opset_version=card.opset,
                input_names=[traced_input_name(card)],
                output_names=list(OUTPUT_NAMES),
                dynamic_shapes=free_axes(card),
                verbose=False,
            )
        except ImportError as error:
            raise missing_extra(error) or MissingExtraError("onnxscript", "train") from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    ease_interchange(model)
    _name_layers(model.graph)
    _remove_traces(model)
    assert card.opset is not None
    _, model.ir_version = OPSETS[card.opset]
    return with_image_input(model, card.preprocessing) if card.input == "image" else model


def finish(model: onnx.ModelProto, card: Card, path: Path) -> None:
    """Add the card, check the model and write it to `path`; the caller verifies the file."""
    del model.metadata_props[:]
    model.producer_name, model.producer_version = "rtl", card.versions["rtl"]
    model.graph.name = card.architecture
    model.metadata_props.add(key=CARD_KEY, value=encode_card(card))
    declare_types(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _name_layers(graph: onnx.GraphProto) -> None:
    """Name each module's output after the module, so that verification can name a layer.

    torch has folded each BatchNorm into the convolution before it, under the BatchNorm's name.
    """
    fixed = {output.name for output in graph.output}
    renamed: dict[str, str] = {}
    calls: Counter[str] = Counter()
    before: tuple[str, str] | None = None
    for node in graph.node:
        scopes = _scopes(node)
        layer = next(filter(None, map(layer_name, reversed(scopes))), None)
        inside = scopes[-2] if len(scopes) > 1 else ""
        if layer is None or layer_name(inside) != layer:
            before = None
            if inside == "classifier":
                renamed[node.output[0]] = NORMALISE
            continue
        if before != (layer, inside):
            calls[layer] += 1
        name = call_name(layer, calls[layer])
        renamed = {old: new for old, new in renamed.items() if new != name}
        renamed[node.output[0]] = name
        before = (layer, inside)
    renamed = {old: new for old, new in renamed.items() if old not in fixed}
    last = [old for old, new in renamed.items() if new == NORMALISE][-1:]
    renamed = {old: new for old, new in renamed.items() if new != NORMALISE or old in last}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
        node.name = node.output[0]
    for value in graph.value_info:
        value.name = renamed.get(value.name, value.name)


def _scopes(node: onnx.NodeProto) -> list[str]:
    """Return the paths of the modules that hold a node, outermost first, then the node's name."""
    noted = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
    return [part.strip(" '\"") for part in noted.strip("[]").split(",")]


def _remove_traces(model: onnx.ModelProto) -> None:
    """Delete the source paths and stack traces that torch notes on every node and tensor."""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:]
    for items in (graph.node, graph.initializer, graph.input, graph.output, graph.value_info):
        for item in items:
            del item.metadata_props[:]
            item.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the warnings and progress of torch's exporter; errors are still raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
