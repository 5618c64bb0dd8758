"""Level "pixels" of a file with input `image`: its graph's resize and crop, and the predictor's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.backends.onnxruntime import session_in_memory
from toolchain.runtime.card import Card, Preprocessing
from toolchain.runtime.model_inputs import Pixels
from toolchain.verification.levels.pixels import compare_pixels, pixel_summary
from toolchain.verification.result import Level

PIXELS_TENSOR = "pixels"
"""The tensor of the graph that holds the resized and cropped image."""
LEVELS_INSIDE, LEVELS_AT_BORDER = 1, 60
"""How many levels of 255 a pixel may be off by, inside and where the border of the resized image is
kept. At the border up to an eighth of the resize filter lies outside of the image; onnxruntime
gives that weight to the outermost pixel, Pillow to all of them. In a corner it is 1 − (7/8)² of
255."""


def image_input_level(
    card: Card, names: list[str], by_predictor: Pixels, in_graph: Pixels
) -> Level:
    """Compare the graph's pixels with the predictor's, each uint8 [images, size, size, 3]."""
    most = allowed_levels(card.preprocessing)
    difference = compare_pixels(names, by_predictor, in_graph)
    return Level(
        level="pixels",
        against="graph's input",
        passed=difference.images > 0 and difference.max_levels <= most,
        rule=f"no value is off by more than {most} of 255 ({card.preprocessing.mode})",
        summary=pixel_summary(difference),
        figures=msgspec.structs.asdict(difference),
        where="resize, in the graph" if difference.max_levels > most else None,
    )


def allowed_levels(preprocessing: Preprocessing) -> int:
    """Return how many levels the pixels that the graph makes may be off by."""
    cut = preprocessing.resize_size - preprocessing.size
    # The crop is rounded to even: of one pixel too many it may cut all from one side.
    border_is_cut_off = preprocessing.mode == "crop" and cut >= 2
    return LEVELS_INSIDE if border_is_cut_off else LEVELS_AT_BORDER


def open_graph_resize(path: Path) -> Callable[[NDArray[np.uint8]], Pixels]:
    """Return the part of a graph that resizes and crops, as a function.

    It takes an image uint8 [height, width, 3] with the EXIF orientation applied, and returns pixels
    [1, size, size, 3]. The nodes after it are removed, because onnxruntime would run them too; they
    are in the order of computation.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    last = next(i for i, node in enumerate(graph.node) if PIXELS_TENSOR in node.output)
    del graph.node[last + 1 :]
    del graph.output[:]
    graph.output.append(onnx.ValueInfoProto(name=PIXELS_TENSOR))
    session = session_in_memory(model, optimised=True)

    def resize_and_crop(image: NDArray[np.uint8]) -> Pixels:
        pixels: Pixels = session.run([PIXELS_TENSOR], {"image": image})[0]
        return pixels

    return resize_and_crop
