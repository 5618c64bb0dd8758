"""Write a .pt2 file, the format of torch.export, with the card as an extra file."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch

from toolchain.exporters.writers.traced import (
    example,
    free_axes,
    traced,
    without_garbage_collector,
)
from toolchain.networks.resnet import InferenceModel
from toolchain.runtime.card import CARD_KEY, Card, encode_card


def write_program(inference_model: InferenceModel, card: Card, path: Path) -> None:
    """Write the model to `path`; the caller verifies the file."""
    with warnings.catch_warnings(), torch.no_grad(), without_garbage_collector():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            traced(inference_model, card),
            (example(card),),
            dynamic_shapes=free_axes(card),
            strict=False,
        )
        _remove_traces(program)
        # In memory, because torch ends the whole process where it can't write to a file.
        archive = io.BytesIO()
        torch.export.save(program, archive, extra_files={CARD_KEY: encode_card(card)})
    path.write_bytes(archive.getbuffer())


def _remove_traces(program: torch.export.ExportedProgram) -> None:
    """Delete the stack traces, which hold source paths of this machine."""
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
