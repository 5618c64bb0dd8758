"""Write an ONNX file: opset 18, any batch size, the card inside, no traces of its maker."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch

from toolchain.errors import MissingExtraError
from toolchain.runtime.card import CARD_KEY, Card, encode_card
from toolchain.training.models import Served

OPSET = 18
IR_VERSION = 8
"""The file format of opset 18's own time. onnx writes a newer one, which older onnxruntimes refuse
though nothing in the file needs it."""
LOWEST_ONNXRUNTIME = "1.15"
"""The oldest one that a file was loaded in and gave the same logits."""


def write_onnx(served: Served, card: Card, path: Path) -> None:
    """Write the model to `path`; the caller verifies it."""
    size = card.preprocessing.size
    # A batch of one would be taken for a constant; two keeps the axis free.
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with _quiet():
        try:
            program = torch.onnx.export(
                served,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["pixels"],
                output_names=["probabilities", "logits"],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=2**16)},),
                verbose=False,
            )
        except ImportError as error:
            raise MissingExtraError("onnxscript", "train") from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _remove_traces(model)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "rtl", card.versions["rtl"]
    model.graph.name = card.architecture
    model.metadata_props.add(key=CARD_KEY, value=encode_card(card))
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


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
    """Silence the exporter's own deprecations and progress; errors still come through."""
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
