"""The input kind `image`: resize and crop in the graph, so that an app needs only a decoder."""

from __future__ import annotations

import onnx
from onnx import compose, parser

from toolchain.runtime.card import Preprocessing

PIXELS = "pixels"
"""The tensor between preprocessing and network: uint8 [1, size, size, 3]."""

CROP = """
preprocessing (uint8[height, width, 3] image) => (uint8[1, {size}, {size}, 3] pixels)
<int64[1] short = {{{resize}}}, int64[1] side = {{{size}}}, int64[1] three = {{3}},
 int64[1] two = {{2}}, int64[2] axes = {{0, 1}}, int64[1] first = {{0}}>
{{
  shape = Shape <start = 0, end = 2> (image)
  shorter = ReduceMin <keepdims = 1> (shape)
  scaled = Mul (shape, short)
  resized_shape = Div (scaled, shorter)
  whole_shape = Concat <axis = 0> (resized_shape, three)
  resized = Resize <mode = "linear", antialias = 1, coordinate_transformation_mode = "half_pixel">
    (image, , , whole_shape)
  over = Sub (resized_shape, side)
  half = Div (over, two)
  odd = Mod (over, two)
  half_odd = Mod (half, two)
  up = Mul (odd, half_odd)
  start = Add (half, up)
  end = Add (start, side)
  cropped = Slice (resized, start, end, axes)
  pixels = Unsqueeze (cropped, first)
}}
"""
SQUASH = """
preprocessing (uint8[height, width, 3] image) => (uint8[1, {size}, {size}, 3] pixels)
<int64[3] whole_shape = {{{size}, {size}, 3}}, int64[1] first = {{0}}>
{{
  resized = Resize <mode = "linear", antialias = 1, coordinate_transformation_mode = "half_pixel">
    (image, , , whole_shape)
  pixels = Unsqueeze (resized, first)
}}
"""
"""`Div` of integers truncates the long side. The offset of the crop is half of `over`, and a half
pixel goes to the even neighbour: up from an odd one. `preprocess` does the same. All of it is in
integers, so that a tool that converts the floats of a graph finds none here."""


def with_image_input(model: onnx.ModelProto, preprocessing: Preprocessing) -> onnx.ModelProto:
    """Return the model with resize and crop in front of it.

    It takes pixels in a batch of one; what is returned takes `image`, uint8 [height, width, 3].
    """
    text = CROP if preprocessing.mode == "crop" else SQUASH
    graph = parser.parse_graph(
        text.format(size=preprocessing.size, resize=preprocessing.resize_size)
    )
    front = onnx.helper.make_model(
        graph, opset_imports=list(model.opset_import), ir_version=model.ir_version
    )
    for node in front.graph.node:
        node.name = f"preprocessing.{node.output[0]}"
    whole = compose.merge_models(front, model, io_map=[(PIXELS, PIXELS)])
    whole.ir_version = model.ir_version
    del whole.opset_import[:]  # merged, it lists the same opset twice
    whole.opset_import.extend(model.opset_import)
    return whole
