"""Every kind of fp32 file: its name, its card, its inputs and outputs, and what it contains."""

from __future__ import annotations

import json
import shutil
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import toolchain as rtl
from tests.conftest import ROOT
from tests.exporters.writers.test_onnx import traces
from tests.made_once import session_folder
from toolchain.adaptation.original import open_original
from toolchain.backends.backend import open_backend
from toolchain.backends.pt2 import load_program
from toolchain.cli.main import run_command
from toolchain.exporters.variants import Variant, variants
from toolchain.runs.runfolder import RunFolder, parity_file
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import CARD_KEY
from toolchain.runtime.model_inputs import normalised
from toolchain.runtime.onnxfile.scan import scan_model
from toolchain.runtime.selftest import generated_pixels, proof_difference

IR_VERSIONS = {18: 8, 19: 9, 20: 9, 21: 10}
"""Opset → file format version, by the table in onnx's docs/Versioning.md."""
OLDEST = {18: "1.15", 19: "1.16", 20: "1.17", 21: "1.18"}
"""Opset → onnxruntime, as tests/slow/onnxruntime_versions.py found."""

KINDS = {
    "any batch": [
        ("model.onnx", Variant("onnx")),
        ("model.tensor.onnx", Variant("onnx", input="tensor")),
        ("model.image.opset21.onnx", Variant("onnx", input="image", opset=21)),
        ("model.torchscript.pt", Variant("torchscript")),
        ("model.tensor.torchscript.pt", Variant("torchscript", input="tensor")),
        ("model.pt2", Variant("pt2")),
        ("model.tensor.pt2", Variant("pt2", input="tensor")),
    ],
    "batch of 3": [
        ("model.batch3.opset19.onnx", Variant("onnx", batch=3, opset=19)),
        ("model.tensor.batch3.opset20.onnx", Variant("onnx", input="tensor", batch=3, opset=20)),
        ("model.batch3.torchscript.pt", Variant("torchscript", batch=3)),
        ("model.batch3.pt2", Variant("pt2", batch=3, opset=20)),  # an opset is for ONNX only
    ],
}
VARIANTS = {(group, name): variant for group, kinds in KINDS.items() for name, variant in kinds}
EACH = list(VARIANTS)
ONNX = [kind for kind in EACH if kind[1].endswith(".onnx")]

Kind = tuple[str, str]
Files = dict[Kind, Path]


@pytest.fixture(scope="module")
def files(exported: Path, exported_as: Callable[[Variant], Path]) -> Files:
    """Every format × input kind, with a free and with a fixed batch."""
    defaults = {Variant("onnx"): "model.onnx", Variant("torchscript"): "model.torchscript.pt"}
    return {
        kind: exported / defaults[variant] if variant in defaults else exported_as(variant)
        for kind, variant in VARIANTS.items()
    }


def parts(path: Path) -> dict[str, bytes]:
    """Return what a file contains besides its weights, by the name of the part."""
    if path.suffix == ".onnx":
        content = onnx.load(path)
        for tensor in content.graph.initializer:
            tensor.ClearField("raw_data")
        return {"graph": content.SerializeToString()}
    with zipfile.ZipFile(path) as archive:
        return {
            name: archive.read(name)
            for name in archive.namelist()
            if "/constants/" not in name and "/weights/weight_" not in name
        }


@pytest.mark.parametrize("kind", EACH, ids=" ".join)
def test_a_file_is_named_after_what_is_not_the_default(files: Files, kind: Kind) -> None:
    path = files[kind]
    assert {beside.name for beside in path.parent.glob(f"{kind[1]}*")} == {
        kind[1],
        f"{kind[1]}.parity.json",
        f"{kind[1]}.references.npz",
        *([f"{kind[1]}.features.npz"] if kind in ONNX else []),
    }
    assert json.loads(parity_file(path).read_text())["passed"] is True


@pytest.mark.parametrize("kind", EACH, ids=" ".join)
def test_the_card_describes_the_file(files: Files, run_folder: Path, kind: Kind) -> None:
    path, variant = files[kind], VARIANTS[kind]
    card = open_backend(path).card
    assert (card.format, card.precision, card.input, card.batch) == (
        variant.format,
        "fp32",
        variant.input,
        variant.batch,
    )
    of_run = RunFolder(run_folder).read_card()
    for name in ("classes", "preprocessing", "normalisation", "weights", "metrics", "temperature"):
        assert getattr(card, name) == getattr(of_run, name)
    assert card.trained_size is None
    assert card.acceptance is None
    if variant.format != "onnx":
        assert (card.opset, card.ir_version, card.lowest_onnxruntime) == (None, None, None)
        return
    content = onnx.load(path)
    assert [(o.domain, o.version) for o in content.opset_import] == [("", variant.opset)]
    assert card.opset == variant.opset
    assert card.ir_version == content.ir_version == IR_VERSIONS[variant.opset]
    assert card.lowest_onnxruntime == OLDEST[variant.opset]


@pytest.mark.parametrize("kind", EACH, ids=" ".join)
def test_a_file_alone_computes_the_proof_of_its_card(
    files: Files, kind: Kind, tmp_path: Path
) -> None:
    lone = Path(shutil.copy(files[kind], tmp_path))
    assert 44_000_000 < lone.stat().st_size < 46_000_000  # 11.18 million float32
    backend = open_backend(lone)
    proof = backend.card.proof
    assert proof is not None
    _, logits = backend.run(generated_pixels(64))
    assert proof_difference(proof, logits) < 1e-5
    lone.unlink()  # 45 MB for each of them would stay until the end


@pytest.mark.parametrize("kind", EACH, ids=" ".join)
def test_a_file_contains_no_path_of_the_exporting_machine(
    files: Files, tmp_path_factory: pytest.TempPathFactory, kind: Kind
) -> None:
    path = files[kind]
    words = traces(session_folder(tmp_path_factory))  # of data, run and file
    if path.suffix == ".pt":
        words.remove(b".py")  # the names of its own records
    found = {name: [w for w in words if w in data] for name, data in parts(path).items()}
    assert {name: words for name, words in found.items() if words} == {}
    # In 45 MB of weights short words could occur by chance, long ones can't.
    whole = path.read_bytes()
    assert [word for word in words if len(word) > 8 and word in whole] == []


def test_the_search_for_traces_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/models/model.json", f"{sysconfig.get_paths()['purelib']}/a.py")
    [text] = parts(path).values()
    assert [word for word in traces() if word in text]
    assert str(ROOT).encode() in traces()


@pytest.mark.parametrize("kind", ONNX, ids=" ".join)
def test_a_graph_has_the_inputs_and_outputs_of_its_input_kind(files: Files, kind: Kind) -> None:
    variant = VARIANTS[kind]
    batch = variant.batch or "batch"
    expected = {
        "pixels": ("pixels", "tensor(uint8)", [batch, 64, 64, 3]),
        "tensor": ("tensor", "tensor(float)", [batch, 3, 64, 64]),
        "image": ("image", "tensor(uint8)", ["height", "width", 3]),
    }
    session = onnxruntime.InferenceSession(files[kind], providers=["CPUExecutionProvider"])
    [taken] = session.get_inputs()
    assert (taken.name, taken.type, taken.shape) == expected[variant.input]
    rows = 1 if variant.input == "image" else batch
    assert [(output.name, output.shape) for output in session.get_outputs()] == [
        ("probabilities", [rows, 3]),
        ("logits", [rows, 3]),
    ]


@pytest.mark.parametrize("kind", ONNX, ids=" ".join)
def test_scan_model_reads_what_onnx_reads(files: Files, kind: Kind) -> None:
    scan, expected = scan_model(files[kind]), onnx.load(files[kind])
    assert (scan.ir_version, scan.opset) == (expected.ir_version, VARIANTS[kind].opset)
    assert scan.nodes == len(expected.graph.node)
    assert [value.name for value in scan.inputs] == [v.name for v in expected.graph.input]
    for value, other in zip(scan.outputs, expected.graph.output, strict=True):
        described = other.type.tensor_type.shape.dim
        assert value.name == other.name
        assert value.shape == tuple(d.dim_value or d.dim_param for d in described)
    assert scan.card == next(e.value for e in expected.metadata_props if e.key == CARD_KEY)


@pytest.mark.parametrize("kind", ONNX, ids=" ".join)
def test_tensors_are_named_after_torchs_modules(files: Files, run_folder: Path, kind: Kind) -> None:
    network = TrainedRun.open(run_folder).classifier.network
    leaves = {n: m for n, m in network.named_modules() if not list(m.children())}
    produced_by = {
        name: node.op_type for node in onnx.load(files[kind]).graph.node for name in node.output
    }
    # BatchNorm is folded into the convolution before it; the last of the two gives the name.
    folded = [n for n, m in leaves.items() if isinstance(m, nn.BatchNorm2d)]
    assert len(folded) == 20
    assert {produced_by[name] for name in folded} == {"Conv"}
    others = (nn.BatchNorm2d, nn.Conv2d, nn.Linear)
    assert {name for name, module in leaves.items() if not isinstance(module, others)} <= set(
        produced_by
    )
    assert (produced_by["fc"], produced_by["logits"]) == ("Gemm", "Identity")


def test_the_input_tensor_is_the_normalised_pixels(files: Files, run_folder: Path) -> None:
    pixels = generated_pixels(64)
    given = normalised(pixels, RunFolder(run_folder).read_card().normalisation)
    session = onnxruntime.InferenceSession(
        files["any batch", "model.tensor.onnx"], providers=["CPUExecutionProvider"]
    )
    [logits] = session.run(["logits"], {"tensor": given})
    _, expected = open_backend(files["any batch", "model.onnx"]).run(pixels)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_variants_are_every_combination_once() -> None:
    made = variants(["onnx", "onnx"], ["fp32", "int8"], ["pixels", "image"], opset=20)
    assert [(v.format, v.precision, v.input, v.opset) for v in made] == [
        ("onnx", "fp32", "pixels", 20),
        ("onnx", "fp32", "image", 20),
        ("onnx", "int8", "pixels", 20),
        ("onnx", "int8", "image", 20),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--format torchscript --precision int8", "int8 is for onnx; torchscript is fp32 only"),
        ("--format onnx --format pt2 --precision fp16", "fp16 is for onnx; pt2 is fp32 only"),
        ("--format pt2 --input image", "pt2 takes pixels or tensor"),
        ("--input pixels --input image --batch 4", "one image at a time; leave --batch away"),
        ("--format coreml", "'onnx', 'torchscript', 'pt2'"),
        ("--precision int4", "'fp32', 'fp16', 'int8'"),
        ("--input planes", "'pixels', 'tensor', 'image'"),
        ("--batch 0", "neither 'dynamic' nor a number of images"),
        ("--batch x", "neither 'dynamic' nor a number of images"),
        ("--opset 17", "18<=x<=21"),
        ("--opset 22", "18<=x<=21"),
        ("--image-size 16", "x>=32"),
        ("--calibration-method mean", "'minmax', 'entropy', 'percentile'"),
        ("--max-drop -1", "0<=x<=100"),
    ],
)
def test_a_combination_that_does_not_exist_is_a_usage_error_that_names_what_does(
    run_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: str,
    message: str,
) -> None:
    status = run_command(["export", str(run_folder), "-o", str(tmp_path), *words.split()])
    assert status == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_variant_that_does_not_exist_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="18, 19, 20, 21"):
        Variant(opset=17)
    with pytest.raises(ValueError, match="at least 1"):
        Variant(batch=0)
    with pytest.raises(ValueError, match="fp32 only"):
        Variant("pt2", "int8")


@pytest.mark.parametrize(
    "change",
    [lambda x: x.float(), lambda x: x.permute(0, 3, 1, 2), lambda x: x[:, :60], lambda x: x[0]],
    ids=["float", "channels first", "other size", "one image"],
)
def test_a_pt2_file_refuses_what_it_does_not_take(
    files: Files, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    module = load_program(files["any batch", "model.pt2"]).module()
    pixels = torch.from_numpy(generated_pixels(64))
    assert module(pixels)[1].shape == (4, 3)
    # The first two are the words of torch 2.8.
    refusals = r"Expected input at|Unexpected number of dimensions in input|mismatch|Guard failed"
    with pytest.raises((RuntimeError, AssertionError), match=refusals):
        module(change(pixels))


@pytest.fixture(scope="module")
def run_of_stages(
    stripes: Path, random_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run whose classifier reads all stages."""
    folder = tmp_path_factory.mktemp("stages") / "run"
    rtl.finetune(
        stripes,
        output=folder,
        weights=str(random_weights),
        head_stages="all",
        size=32,
        epochs=1,
        augment="none",
        workers=0,
    )
    return folder


@pytest.mark.usefixtures("quickly")
def test_a_classifier_that_reads_all_stages_is_exported_and_verified_in_every_format(
    run_of_stages: Path,
) -> None:
    found = rtl.export(run_of_stages, ["onnx", "torchscript", "pt2"])
    assert len(found.kept) == 3
    onnx_file = run_of_stages / "export" / "model.onnx"
    original = open_original(onnx_file)  # it raises where the last layer is not understood
    assert original.weight.shape == (3, 64 + 128 + 256 + 512)
    assert original.card.head_stages == "all"
    names = {output for node in onnx.load(onnx_file).graph.node for output in node.output}
    assert {"avgpool", "avgpool#2", "avgpool#3", "avgpool#4"} <= names
