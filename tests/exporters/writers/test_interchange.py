"""Other tools' passes over the ONNX file of a real run: the file they make opens and answers alike.

A tool that is not installed is skipped; `pip install onnxsim onnxconverter-common sympy` has all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from toolchain.exporters.writers.image_input import with_image_input
from toolchain.exporters.writers.interchange import declare_types, ease_interchange
from toolchain.runtime.card import Preprocessing, decode_card
from toolchain.runtime.selftest import generated_pixels

Pass = Callable[[Path, Path], onnx.ModelProto]


@pytest.fixture(scope="module")
def content(model: Path) -> onnx.ModelProto:
    return onnx.load(model)


@pytest.fixture(scope="module", params=["pixels", "image"])
def file(
    request: pytest.FixtureRequest,
    content: onnx.ModelProto,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The file for pixels, and the same for images of any size."""
    made = onnx.ModelProto()
    made.CopyFrom(content)
    if request.param == "image":
        [entry] = content.metadata_props
        card = decode_card(entry.value, source="model")
        for value in (*made.graph.input, *made.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1
        made = with_image_input(made, card.preprocessing)
        declare_types(made)
    path = tmp_path_factory.mktemp("interchange") / f"{request.param}.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def given(path: Path) -> dict[str, NDArray[Any]]:
    if path.stem == "image":
        return {"image": np.resize(generated_pixels(90)[0], (80, 90, 3))}
    return {"pixels": generated_pixels(64)}


def logits_of(model: onnx.ModelProto, path: Path) -> NDArray[Any]:
    """Return the logits of a model that was made of the file."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found: NDArray[Any] = session.run(["logits"], given(path))[0]
    return found.astype(np.float32)


def simplify(path: Path, folder: Path) -> onnx.ModelProto:
    simplified, checked = pytest.importorskip("onnxsim").simplify(onnx.load(path))
    assert checked
    made: onnx.ModelProto = simplified
    return made


def to_float16(path: Path, folder: Path) -> onnx.ModelProto:
    float16 = pytest.importorskip("onnxconverter_common.float16")
    made: onnx.ModelProto = float16.convert_float_to_float16(onnx.load(path))
    return made


def to_float16_inside(path: Path, folder: Path) -> onnx.ModelProto:
    float16 = pytest.importorskip("onnxconverter_common.float16")
    made: onnx.ModelProto = float16.convert_float_to_float16(onnx.load(path), keep_io_types=True)
    return made


def to_float16_by_onnxruntime(path: Path, folder: Path) -> onnx.ModelProto:
    float16 = pytest.importorskip("onnxruntime.transformers.float16")
    made: onnx.ModelProto = float16.convert_float_to_float16(onnx.load(path), keep_io_types=True)
    return made


def quantise_dynamically(path: Path, folder: Path) -> onnx.ModelProto:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(path, folder / "made.onnx")
    return onnx.load(folder / "made.onnx")


def quantise_statically(path: Path, folder: Path) -> onnx.ModelProto:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Once(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.batches = [given(path)]

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return self.batches.pop() if self.batches else None

    quantize_static(str(path), str(folder / "made.onnx"), Once(), per_channel=True)
    return onnx.load(folder / "made.onnx")


def infer_shapes(path: Path, folder: Path) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(
        onnx.load(path), check_type=True, strict_mode=True, data_prop=True
    )


def infer_symbolic_shapes(path: Path, folder: Path) -> onnx.ModelProto:
    pytest.importorskip("sympy")
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    made: onnx.ModelProto = SymbolicShapeInference.infer_shapes(onnx.load(path), auto_merge=True)
    return made


def to_newer_opset(path: Path, folder: Path) -> onnx.ModelProto:
    return onnx.version_converter.convert_version(onnx.load(path), 21)


def prefix(path: Path, folder: Path) -> onnx.ModelProto:
    return onnx.compose.add_prefix(onnx.load(path), "a/", rename_inputs=False, rename_outputs=False)


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        (simplify, 1e-4),
        (infer_shapes, 0.0),
        (infer_symbolic_shapes, 0.0),
        (to_newer_opset, 1e-4),
        (prefix, 0.0),
        (to_float16, 0.05),
        (to_float16_inside, 0.05),
        (to_float16_by_onnxruntime, 0.05),
        (quantise_dynamically, 1.0),
        (quantise_statically, 2.0),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_file_goes_through_other_tools(
    file: Path, tmp_path: Path, change: Pass, allowed: float
) -> None:
    made = change(file, tmp_path)
    expected = logits_of(onnx.load(file), file)
    difference = np.abs(logits_of(made, file) - expected).max()
    assert difference <= allowed * max(1.0, float(np.abs(expected).max()))


def test_an_older_opset_is_refused_for_nothing_but_operators(content: onnx.ModelProto) -> None:
    older = onnx.version_converter.convert_version(content, 17)
    onnx.checker.check_model(older, full_check=True)


def test_types_are_declared_of_what_is_computed_and_of_nothing_else(file: Path) -> None:
    graph = onnx.load(file).graph
    declared = [value.name for value in graph.value_info]
    computed = {name for node in graph.node for name in node.output}
    assert len(declared) == len(set(declared))
    assert set(declared) == computed - {output.name for output in graph.output}


def test_no_node_reads_an_output_and_every_weight_is_read(content: onnx.ModelProto) -> None:
    read = {name for node in content.graph.node for name in node.input}
    assert not read & {output.name for output in content.graph.output}
    assert {tensor.name for tensor in content.graph.initializer} <= read
    names = [node.name for node in content.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("over", range(13))
def test_half_a_pixel_goes_to_the_even_neighbour_in_integers(over: int) -> None:
    """The graph's crop, for images that are wider than the crop by any number of pixels."""
    side = 32
    preprocessing = Preprocessing(size=side, resize_size=side)
    network = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["pixels"], ["seen"])],
            "network",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, side, side, 3])],
            [helper.make_tensor_value_info("seen", TensorProto.UINT8, [1, side, side, 3])],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    whole = with_image_input(network, preprocessing)
    session = onnxruntime.InferenceSession(
        whole.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    columns = np.arange(side + over, dtype=np.uint8)
    image = np.broadcast_to(columns[None, :, None], (side, side + over, 3)).copy()
    [seen] = session.run(None, {"image": image})
    assert seen[0, 0, 0, 0] == round(over / 2)


def test_what_is_not_a_cast_of_the_pixels_stays_a_cast() -> None:
    nodes = [
        helper.make_node("Cast", ["pixels"], ["colour"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["colour", "mean"], ["centred"]),
        helper.make_node("Cast", ["centred"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["whole"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["whole"], ["positive"]),
    ]
    mean = helper.make_tensor("mean", TensorProto.FLOAT, [1], [0.5])
    taken = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1])
    given = helper.make_tensor_value_info("positive", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph(nodes, "g", [taken], [given], [mean]))
    ease_interchange(model)
    assert [n.op_type for n in model.graph.node] == ["CastLike", "Sub", "Cast", "Cast", "Relu"]
    assert list(model.graph.node[0].input) == ["pixels", "mean"]
