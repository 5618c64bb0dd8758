"""External weights, weights of another size than declared, and huge constants are refused.

Some of these make older onnxruntimes read other files, crash, hang, or allocate gigabytes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.runtime.onnxfile.hostile import (
    BIG,
    Tampering,
    body,
    changed,
    constant,
    dims,
    external,
    function,
    node,
    refusal,
    sparse,
    weights,
)
from tests.runtime.tiny import tiny_model, weight
from toolchain import Predictor

OUTSIDE = {
    "weight": "lies in another file",
    "constant": "lies in another file",
    "sparse values": "it holds sparse weights",
    "branch": "a node holds a graph",
    "function": "it holds functions",
}


@pytest.mark.parametrize(
    "tensor",
    [
        external("/etc/hostname"),
        external("../../../../../../../../etc/hostname"),
        external("beside.bin"),
        external("*/_ORT_MEM_ADDR_/*", offset="4096", length="12"),
        TensorProto(
            name="outside",
            data_type=1,
            dims=[3],
            raw_data=bytes(12),
            data_location="EXTERNAL",
        ),
    ],
    ids=["absolute", "above", "beside", "an address", "nowhere"],
)
@pytest.mark.parametrize("place", OUTSIDE)
def test_a_weight_in_another_file_is_refused_in_every_position(
    tensor: TensorProto, place: str, tmp_path: Path
) -> None:
    (tmp_path / "beside.bin").write_bytes(bytes(12))
    one = weight("indices", np.array([0, 1, 2]))
    changes: dict[str, Tampering] = {
        "weight": lambda model: model.graph.initializer.append(tensor),
        "constant": constant(value=tensor),
        "sparse values": lambda m: m.graph.sparse_initializer.append(sparse(tensor, one)),
        "branch": node("Loop", ["", ""], ["v"], body=body(initializer=[tensor])),
        "function": function("Outside"),
    }
    assert OUTSIDE[place] in refusal(changed(tmp_path, changes[place]))


def test_values_and_indices_of_sparse_constants_are_refused(tmp_path: Path) -> None:
    values = sparse(weight("v", np.ones(3, np.float32)), external("beside.bin"))
    assert "sparse" in refusal(changed(tmp_path, constant(sparse_value=values)))


def test_a_pipe_beside_the_model_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = changed(tmp_path, lambda m: m.graph.initializer.append(external("pipe")))
    assert "lies in another file" in refusal(path)


def test_location_of_the_weights_is_read_as_onnxruntime_reads_it(tmp_path: Path) -> None:
    # An enumeration is truncated to 32 bits: 2**32 + 1 is EXTERNAL to protobuf.
    path = changed(tmp_path)
    tensor = TensorProto(name="far", data_type=1, dims=[0]).SerializeToString()
    tensor += b"\x70" + varint(2**32 + 1)
    graph = b"\x2a" + varint(len(tensor)) + tensor
    path.write_bytes(path.read_bytes() + b"\x3a" + varint(len(graph)) + graph)
    assert "where it may stand once" in refusal(path)  # a second graph, which protobuf would merge
    model = tiny_model().SerializeToString()
    own = onnx.ModelProto.FromString(model).graph.SerializeToString()
    rest = onnx.ModelProto.FromString(model)
    rest.ClearField("graph")
    whole = own + graph
    path.write_bytes(rest.SerializeToString() + b"\x3a" + varint(len(whole)) + whole)
    assert "'far' lies in another file" in refusal(path)


def varint(value: int) -> bytes:
    """Return a number as a varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dims(2**40), "1,099,511,627,776 values and does not hold them"),
        (dims(2**40, float_data=[1.0]), "1,099,511,627,776 values"),
        (dims(2**30, raw_data=b""), "1,073,741,824 values"),
        (dims(2**62, 4), "more than 1,099,511,627,776 values"),
        (dims(-3), "a side of -3"),
        (dims(-1, -3), "a side of -1"),
        (dims(3, raw_data=bytes(11)), "3 values and does not hold them"),
        (dims(3, raw_data=bytes(4000)), "3 values and does not hold them"),
    ],
)
def test_weight_of_another_size_than_declared_is_refused(
    change: Tampering, message: str, tmp_path: Path
) -> None:
    refused = refusal(changed(tmp_path, change))
    assert message in refused
    assert "'bias'" in refused


def test_weight_of_text_or_of_an_unknown_type_is_refused(tmp_path: Path) -> None:
    text = TensorProto(name="t", data_type=8, dims=[1], string_data=[b"x" * 10_000_000])
    path = changed(tmp_path, lambda model: model.graph.initializer.append(text))
    assert "is text" in refusal(path)
    other = TensorProto(name="t", data_type=99, dims=[0])
    path = changed(tmp_path, lambda model: model.graph.initializer.append(other))
    assert "unknown type 99" in refusal(path)


COLUMN = np.ones((40_000, 1), np.float32)


@pytest.mark.parametrize(
    ("given", "operator"),
    [
        ({"n": [BIG]}, "ConstantOfShape"),
        ({"x": np.array([1], np.float32), "n": [BIG]}, "Expand"),
        ({"x": np.float32(0), "y": np.float32(BIG), "z": np.float32(1)}, "Range"),
        ({"x": np.array([1], np.float32), "n": [BIG]}, "Tile"),
        ({"x": COLUMN, "y": COLUMN.T}, "MatMul"),
        ({"x": COLUMN, "y": COLUMN.T}, "Add"),
    ],
)
def test_huge_constant_computed_from_a_few_weights_is_refused(
    given: dict[str, Any], operator: str, tmp_path: Path
) -> None:
    path = changed(tmp_path, weights(**given), node(operator, list(given), ["huge"]))
    assert "alone" in refusal(path)


@pytest.mark.parametrize(
    ("of", "ends"),
    [("weight", {}), ("pixels", {}), ("pixels", {"start": 1}), ("pixels", {"end": -1})],
)
def test_huge_constant_computed_from_a_fixed_shape_is_refused(
    of: str, ends: dict[str, Any], tmp_path: Path
) -> None:
    steps = [
        node("ConstantOfShape", ["n"], ["huge"]),
        node("Mul", ["shape", "times"], ["n"]),
        node("Shape", [of], ["shape"], **ends),
    ]
    message = refusal(changed(tmp_path, weights(times=[BIG]), *steps))
    assert "'Shape' of what has a fixed shape" in message


def test_a_graph_may_compute_with_the_length_of_its_batch(tmp_path: Path) -> None:
    steps = [  # as the first files of rtl did
        node("Range", ["first", "length", "step"], ["counted"]),
        node("Squeeze", ["shape"], ["length"]),
        node("Shape", ["pixels"], ["shape"], start=0, end=1),
    ]
    path = changed(tmp_path, weights(first=np.int64(0), step=np.int64(1)), *steps)
    Predictor(path).close()


def test_a_thousand_copies_of_the_weights_are_refused(tmp_path: Path) -> None:
    steps = [node("Transpose", ["x"], [f"copy{i}"]) for i in range(1000)]
    path = changed(tmp_path, weights(x=np.ones((50, 50), np.float32)), *steps)
    assert "computes more than 1,058," in refusal(path)


def test_products_of_huge_numbers_are_refused_quickly(tmp_path: Path) -> None:
    squares = [node("Add", [f"x{i}", f"x{i}"], [f"x{i + 1}"]) for i in range(60, -1, -1)]
    path = changed(tmp_path, weights(x0=np.ones(9, np.float32)), *squares)
    assert "from its weights alone" in refusal(path)
    assert "more than 1,099,511,627,776" in refusal(changed(tmp_path, dims(*[2**62] * 50_000)))
