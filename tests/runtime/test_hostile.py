"""Model files that are not ours: one line that says why, and nothing is read, filled or waited for.

Some of these make older onnxruntimes read other files, crash, hang, or take gigabytes.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.runtime.tiny import CLASSES, SIDE, tiny_card, tiny_model, weight, write
from toolchain import Predictor
from toolchain.errors import ModelFileError
from toolchain.runtime.card import CARD_KEY, Door, encode_card
from toolchain.runtime.modelscan import scan_model

Tampering = Callable[[onnx.ModelProto], None]
MEMORY = 3 << 30
"""Bytes of address space of a command; it needs one to start."""


def refusal(path: Path) -> str:
    """Give the one line with which a file is refused."""
    with pytest.raises(ModelFileError) as caught:
        Predictor(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.isprintable()
    assert len(message) < 600
    return message


def changed(path: Path, *tamperings: Tampering) -> Path:
    """Write a tiny model after some changes."""
    model = tiny_model()
    for tampering in tamperings:
        tampering(model)
    return write(model, path / "model.onnx")


def node(*words: Any, first: bool = True, **attributes: Any) -> Tampering:
    """Add a node, before all others or after them."""

    def change(model: onnx.ModelProto) -> None:
        place = 0 if first else len(model.graph.node)
        model.graph.node.insert(place, helper.make_node(*words, **attributes))

    return change


def weights(**values: Any) -> Tampering:
    """Add weights."""
    return lambda model: model.graph.initializer.extend(
        weight(name, np.asarray(value)) for name, value in values.items()
    )


def elsewhere(location: str, name: str = "outside", **more: str) -> TensorProto:
    """Give a tensor of three floats that lie in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def sparse(values: TensorProto, indices: TensorProto, side: int = 9) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=values, indices=indices, dims=[side])


def constant(**attributes: Any) -> Tampering:
    return node("Constant", [], ["held"], **attributes)


def body(*nodes: onnx.NodeProto, **more: Any) -> onnx.GraphProto:
    inputs = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("i", TensorProto.INT64), ("go", TensorProto.BOOL))
    ]
    return helper.make_graph(list(nodes), "body", inputs, [], **more)


def function(name: str, *calls: str) -> Tampering:
    """Add a function that calls others, and a node that calls it."""

    def change(model: onnx.ModelProto) -> None:
        values = ["x", *(f"v{i}" for i in range(len(calls)))]
        steps = [
            helper.make_node(call, [values[i]], [values[i + 1]], domain="own")
            for i, call in enumerate(calls)
        ]
        opsets = [helper.make_opsetid("own", 1), helper.make_opsetid("", 18)]
        made = helper.make_function("own", name, ["x"], [values[-1]], steps, opsets)
        model.functions.append(made)

    return change


def dims(*sides: int, **data: Any) -> Tampering:
    """Give the bias another shape, and other data where some are named."""

    def change(model: onnx.ModelProto) -> None:
        [bias] = [t for t in model.graph.initializer if t.name == "bias"]
        del bias.dims[:]
        bias.dims.extend(sides)
        if data:
            bias.ClearField("raw_data")
            for field, value in data.items():
                setattr(bias, field, value) if field == "raw_data" else getattr(bias, field).extend(
                    value
                )

    return change


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
        elsewhere("/etc/hostname"),
        elsewhere("../../../../../../../../etc/hostname"),
        elsewhere("beside.bin"),
        elsewhere("*/_ORT_MEM_ADDR_/*", offset="4096", length="12"),
        TensorProto(name="outside", data_type=1, dims=[3], raw_data=bytes(12), data_location=1),
    ],
    ids=["absolute", "above", "beside", "an address", "nowhere"],
)
@pytest.mark.parametrize("place", OUTSIDE)
def test_a_weight_in_another_file_is_refused_wherever_it_stands(
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
    held = sparse(weight("v", np.ones(3, np.float32)), elsewhere("beside.bin"))
    assert "sparse" in refusal(changed(tmp_path, constant(sparse_value=held)))


def test_a_file_beside_the_model_is_not_even_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = changed(tmp_path, lambda m: m.graph.initializer.append(elsewhere("pipe")))
    assert "lies in another file" in refusal(path)


def test_place_of_the_weights_is_read_as_onnxruntime_reads_it(tmp_path: Path) -> None:
    # An enumeration is cut to 32 bits: 2**32 + 1 is EXTERNAL to protobuf.
    path = changed(tmp_path)
    tensor = TensorProto(name="far", data_type=1, dims=[0]).SerializeToString()
    tensor += b"\x70" + varint(2**32 + 1)
    graph = b"\x2a" + varint(len(tensor)) + tensor
    path.write_bytes(path.read_bytes() + b"\x3a" + varint(len(graph)) + graph)
    assert "where it may stand once" in refusal(path)  # a second graph, which protobuf would join
    model = tiny_model().SerializeToString()
    own = onnx.ModelProto.FromString(model).graph.SerializeToString()
    rest = onnx.ModelProto.FromString(model)
    rest.ClearField("graph")
    whole = own + graph
    path.write_bytes(rest.SerializeToString() + b"\x3a" + varint(len(whole)) + whole)
    assert "'far' lies in another file" in refusal(path)


def varint(value: int) -> bytes:
    """Write a number as protobuf does."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize(
    ("change", "said"),
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
def test_weight_that_is_not_as_large_as_it_says_is_refused(
    change: Tampering, said: str, tmp_path: Path
) -> None:
    message = refusal(changed(tmp_path, change))
    assert said in message
    assert "'bias'" in message


def test_weight_of_text_or_of_an_unknown_type_is_refused(tmp_path: Path) -> None:
    text = TensorProto(name="t", data_type=8, dims=[1], string_data=[b"x" * 10_000_000])
    path = changed(tmp_path, lambda model: model.graph.initializer.append(text))
    assert "is text" in refusal(path)
    other = TensorProto(name="t", data_type=99, dims=[0])
    path = changed(tmp_path, lambda model: model.graph.initializer.append(other))
    assert "unknown type 99" in refusal(path)


BIG = 2**33
COLUMN = np.ones((40_000, 1), np.float32)


@pytest.mark.parametrize(
    ("given", "operator"),
    [
        ({"n": [BIG]}, "ConstantOfShape"),
        ({"x": np.float32([1]), "n": [BIG]}, "Expand"),
        ({"x": np.float32(0), "y": np.float32(BIG), "z": np.float32(1)}, "Range"),
        ({"x": np.float32([1]), "n": [BIG]}, "Tile"),
        ({"x": COLUMN, "y": COLUMN.T}, "MatMul"),
        ({"x": COLUMN, "y": COLUMN.T}, "Add"),
    ],
)
def test_gigabytes_made_of_a_few_weights_are_refused(
    given: dict[str, Any], operator: str, tmp_path: Path
) -> None:
    path = changed(tmp_path, weights(**given), node(operator, list(given), ["huge"]))
    assert "alone" in refusal(path)


@pytest.mark.parametrize(
    ("of", "ends"),
    [("weight", {}), ("pixels", {}), ("pixels", {"start": 1}), ("pixels", {"end": -1})],
)
def test_gigabytes_made_of_a_shape_that_is_known_are_refused(
    of: str, ends: dict[str, int], tmp_path: Path
) -> None:
    steps = [
        node("ConstantOfShape", ["n"], ["huge"]),
        node("Mul", ["shape", "times"], ["n"]),
        node("Shape", [of], ["shape"], **ends),
    ]
    message = refusal(changed(tmp_path, weights(times=[BIG]), *steps))
    assert "'Shape' of what has a fixed shape" in message


def test_a_graph_may_count_with_the_length_of_its_batch(tmp_path: Path) -> None:
    steps = [  # so did the files of rtl 0.1.0
        node("Range", ["first", "length", "step"], ["counted"]),
        node("Squeeze", ["shape"], ["length"]),
        node("Shape", ["pixels"], ["shape"], start=0, end=1),
    ]
    path = changed(tmp_path, weights(first=np.int64(0), step=np.int64(1)), *steps)
    Predictor(path).close()


def test_a_copy_of_the_weights_a_thousand_times_is_refused(tmp_path: Path) -> None:
    steps = [node("Transpose", ["x"], [f"copy{i}"]) for i in range(1000)]
    path = changed(tmp_path, weights(x=np.ones((50, 50), np.float32)), *steps)
    assert "computes more than 1,058," in refusal(path)


def test_numbers_that_would_take_minutes_to_multiply_are_refused_at_once(tmp_path: Path) -> None:
    squares = [node("Add", [f"x{i}", f"x{i}"], [f"x{i + 1}"]) for i in range(60, -1, -1)]
    path = changed(tmp_path, weights(x0=np.ones(9, np.float32)), *squares)
    assert "from its weights alone" in refusal(path)
    assert "more than 1,099,511,627,776" in refusal(changed(tmp_path, dims(*[2**62] * 50_000)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (node("Relu", ["late"], ["early"]), "'late', which nothing before it gives"),
        (node("Relu", ["own"], ["own"]), "'own', which nothing before it gives"),
        (node("Relu", ["colour"], ["mean"], first=False), "two nodes give 'mean'"),
        (node("Loop", ["", ""], ["v"], body=body()), "a node holds a graph"),
        (node("Own", ["weight"], ["v"], bodies=[body()]), "a node holds graphs"),
        (function("Own", "Own"), "it holds functions"),
        (function("Own", "Own", "Own"), "it holds functions"),
        (node("EPContext", ["colour"], ["v"], first=False), "a node reads another file"),
        (lambda m: m.training_info.add(), "it holds steps of training"),
        (lambda m: m.graph.initializer.append(weight("bias", np.ones(3))), "two weights have"),
        (lambda m: m.ClearField("graph"), "no graph is in it"),
    ],
)
def test_graph_that_no_file_of_rtl_has_is_refused(
    change: Tampering, said: str, tmp_path: Path
) -> None:
    assert said in refusal(changed(tmp_path, change))


def many_descriptions(model: onnx.ModelProto) -> None:
    model.graph.value_info.extend(onnx.ValueInfoProto() for _ in range(201_000))


def many_inputs(model: onnx.ModelProto) -> None:
    model.graph.node[0].input.extend(["x"] * 201_000)


def long_description(model: onnx.ModelProto) -> None:
    shape = model.graph.value_info.add(name="x").type.tensor_type.shape
    shape.dim.extend([onnx.TensorShapeProto.Dimension()] * 50_000)


def long_name(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "x" * 100_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (many_descriptions, "more than 200,000 fields"),
        (many_inputs, "more than 200,000 fields"),
        (long_description, "more than 65,536 bytes"),
        (long_name, "a text of 100,000 bytes"),
    ],
)
def test_file_of_nothing_but_structure_is_refused(
    change: Tampering, said: str, tmp_path: Path
) -> None:
    assert said in refusal(changed(tmp_path, change))


def opset(version: int, domain: str = "") -> Tampering:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version, model.opset_import[0].domain = version, domain
        text = encode_card(tiny_card(opset=None, ir_version=None))
        helper.set_model_props(model, {CARD_KEY: text})

    return change


def retyped(operator: str, domain: str = "") -> Tampering:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type, model.graph.node[0].domain = operator, domain

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (opset(0), "opset 0"),
        (opset(-5), "opset -5"),
        (opset(9999), "opset 9999"),
        (opset(2**32 + 18), "opset 4294967314"),
        (opset(18, "no.such"), "opset 0"),
        (opset(999), "till opset"),
        (opset(1), ""),
        (lambda m: m.ClearField("opset_import"), "opset 0"),
        (retyped("Frobnicate"), "Frobnicate"),
        (retyped("Cast", "no.such"), "no.such"),
        (retyped("Evil\x1b[31m\nhint: trust me"), "Evil [31m hint"),
        (lambda m: setattr(m, "ir_version", 999), "IR version 8, it is 999"),
    ],
)
def test_version_or_operator_that_is_not_known_is_named(
    change: Tampering, said: str, tmp_path: Path
) -> None:
    assert said in refusal(changed(tmp_path, change))


def card_text(text: str) -> Tampering:
    return lambda model: helper.set_model_props(model, {CARD_KEY: text})


def card_says(**changes: Any) -> Tampering:
    return card_text(encode_card(tiny_card(**changes)))


NEWER = '{"schema_version": 2}'
DEEP = '{"schema_version": 1, "x": ' + "[" * 100_000
SIZES = tiny_card().preprocessing


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (card_text(""), "can't be read"),
        (card_text("a label of wine"), "can't be read"),
        (card_text(NEWER), "a card of version 2; this rtl reads up to 1"),
        (card_text(DEEP), "can't be read"),
        (card_text("x" * (2**24 + 1)), "a text of 16,777,217 bytes"),
        (lambda m: m.metadata_props.add(key=CARD_KEY, value="{}"), "have one name"),
        (lambda m: m.metadata_props.clear(), "has no rtl card"),
        (card_says(classes=("a", "b")), "2 classes, so that its graph gives 'probabilities'"),
        (card_says(format="torchscript"), "the format torchscript, it is onnx"),
        (card_says(opset=17), "opset 17, it is 18"),
        (card_says(ir_version=7), "IR version 7, it is 8"),
        (card_says(input="tensor"), "takes 'tensor', float [batch, 3, 8, 8]; it takes 'pixels'"),
        (card_says(input="image"), "takes 'image', uint8 [height, width, 3]; it takes 'pixels'"),
        (card_says(batch=3), "uint8 [3, 8, 8, 3]; it takes 'pixels', uint8 [batch, 8, 8, 3]"),
        (card_says(batch=2**40), "inputs of 267,181.3 GB"),
        (
            card_says(preprocessing=msgspec.structs.replace(SIZES, size=9)),
            "[batch, 9, 9, 3]; it takes 'pixels', uint8 [batch, 8, 8, 3]",
        ),
        (
            card_says(preprocessing=msgspec.structs.replace(SIZES, resize_size=2**31)),
            "inputs of 13,835,058,055.3 GB",
        ),
    ],
)
def test_card_that_is_none_or_another_models_is_refused(
    change: Tampering, said: str, tmp_path: Path
) -> None:
    assert said in refusal(changed(tmp_path, change))


def axes(*shape: int | str) -> Tampering:
    def change(model: onnx.ModelProto) -> None:
        kind = model.graph.input[0].type.tensor_type
        value = helper.make_tensor_value_info("x", kind.elem_type, list(shape))
        kind.shape.CopyFrom(value.type.tensor_type.shape)

    return change


def element(number: int) -> Tampering:
    return lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", number)


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.UINT8, [SIDE]))


def renamed_output(model: onnx.ModelProto) -> None:
    model.graph.output[1].name = model.graph.node[3].output[0] = "scores"
    model.graph.node[4].input[0] = "scores"


@pytest.mark.parametrize(
    ("door", "change", "said"),
    [
        ("pixels", axes(1, SIDE, SIDE, 3), "it takes 'pixels', uint8 [1, 8, 8, 3]"),
        ("pixels", axes("batch", 3, SIDE, SIDE), "[batch, 3, 8, 8]"),
        ("pixels", axes("batch", SIDE, SIDE), "[batch, 8, 8]"),
        ("pixels", axes("batch", "h", "w", 3), "[batch, h, w, 3]"),
        ("pixels", element(TensorProto.FLOAT), "it takes 'pixels', float"),
        ("pixels", lambda m: m.graph.input[0].type.Clear(), "'pixels', no tensor []"),
        ("pixels", second_input, "[batch, 8, 8, 3] and 'x', uint8 [8]"),
        ("pixels", renamed_output, "it gives nothing of that name"),
        ("tensor", element(TensorProto.UINT8), "it takes 'tensor', uint8"),
        ("tensor", axes(4, 3, SIDE, SIDE), "it takes 'tensor', float [4, 3, 8, 8]"),
        ("image", axes("batch", "height", "width", 3), "[batch, height, width, 3]"),
        ("image", axes(640, 480, 3), "it takes 'image', uint8 [640, 480, 3]"),
    ],
)
def test_graph_behind_another_door_than_its_card_says_is_refused(
    door: Door, change: Tampering, said: str, tmp_path: Path
) -> None:
    model = tiny_model(door)
    change(model)
    assert said in refusal(write(model, tmp_path / "model.onnx"))


@pytest.mark.parametrize("door", ["pixels", "tensor", "image"])
@pytest.mark.parametrize("batch", [None, 3])
def test_the_tiny_model_itself_is_opened(door: Door, batch: int | None, tmp_path: Path) -> None:
    path = write(tiny_model(door, None if door == "image" else batch), tmp_path / "model.onnx")
    with Predictor(path) as predictor:
        grey = np.full((9, 9, 3), 127, np.uint8)
        assert predictor(grey).probability == pytest.approx(1 / 3)


def test_file_that_ends_anywhere_is_refused(tmp_path: Path) -> None:
    whole = tiny_model().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refusal(path)


def test_real_file_that_ends_anywhere_is_refused(model: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(model, tmp_path))
    size = path.stat().st_size
    for length in [*(size * i // 16 for i in range(15, 0, -1)), 64, 8, 4, 3, 2, 1, 0]:
        os.truncate(path, length)
        message = refusal(path)
        assert "can't be opened" in message


def test_damaged_bytes_are_refused_or_opened_but_never_an_error_of_another_kind(
    tmp_path: Path,
) -> None:
    whole = tiny_model().SerializeToString()
    path = tmp_path / "model.onnx"
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            Predictor(path).close()
        except ModelFileError:
            refused += 1
    assert 200 < refused < 400


def test_pipe_device_and_loop_of_links_are_no_model_files(tmp_path: Path) -> None:
    pipe, loop = tmp_path / "pipe.onnx", tmp_path / "loop.onnx"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    assert "is a pipe or device" in refusal(pipe)
    assert "is a pipe or device" in refusal(Path("/dev/zero"))
    assert "too many levels of symbolic links" in refusal(loop)
    assert "file name too long" in refusal(tmp_path / ("x" * 300))
    with pytest.raises(ModelFileError, match="can't be opened: embedded null"):
        Predictor("model\0.onnx")


def test_name_of_another_format_does_not_make_it_another_format(tmp_path: Path) -> None:
    path = write(tiny_model(), tmp_path / "model.ort")
    with Predictor(path) as predictor:  # by its name onnxruntime would read it as a FlatBuffer
        assert predictor.classes == CLASSES


def test_scan_says_what_onnx_says(doors: dict[str, Path]) -> None:
    for path in doors.values():
        scan, expected = scan_model(path), onnx.load(path)
        assert (scan.ir_version, scan.opset) == (expected.ir_version, 18)
        assert scan.nodes == len(expected.graph.node)
        assert [value.name for value in scan.inputs] == [v.name for v in expected.graph.input]
        for value, other in zip(scan.outputs, expected.graph.output, strict=True):
            described = other.type.tensor_type.shape.dim
            assert value.name == other.name
            assert value.shape == tuple(d.dim_value or d.dim_param for d in described)
        assert scan.card == next(e.value for e in expected.metadata_props if e.key == CARD_KEY)


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def gigabytes(model: onnx.ModelProto) -> None:
    weights(n=[BIG])(model)
    node("ConstantOfShape", ["n"], ["huge"])(model)


COMMANDS = {
    "predict": ["photo.jpg"],
    "inspect": [],
    "verify": [],
}


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("predict", gigabytes),
        ("inspect", gigabytes),
        ("verify", gigabytes),
        ("predict", function("Own", "Own", "Own")),
        ("inspect", lambda m: m.graph.initializer.append(elsewhere("pipe"))),
        ("verify", dims(2**40)),
        ("inspect", card_text(DEEP)),
        ("inspect", card_says(task="one\n\x1b[2Jerror: two")),
    ],
)
def test_command_says_one_line_within_its_memory(
    command: str, change: Tampering, tmp_path: Path
) -> None:
    path = changed(tmp_path, change)
    os.mkfifo(tmp_path / "pipe")
    done = subprocess.run(
        [sys.executable, "-m", "toolchain", command, path.name, *COMMANDS[command]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
        preexec_fn=limited,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    first, second, *rest = done.stderr.splitlines()
    assert (done.returncode, done.stdout, rest) == (5, "", [])
    assert first.startswith("error: ")
    assert second.startswith("hint: ")
    assert "model.onnx" in first
    assert (first + second).isprintable()


@pytest.mark.parametrize("command", ["predict", "inspect", "verify"])
def test_command_says_one_line_of_a_pipe(command: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = subprocess.run(
        [sys.executable, "-m", "toolchain", command, "pipe", *COMMANDS[command]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == "error: pipe is a pipe or device, not a model file\n"
