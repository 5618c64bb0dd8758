"""`inspect_model` and its page: the file, what lies beside it, and whether that belongs to it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest

from tests.conftest import Rtl
from tests.runtime.tiny import tiny_card, tiny_model, write
from tests.verification import tampering
from toolchain.errors import ModelFileError
from toolchain.exporters.export import accepted_models, export
from toolchain.exporters.variants import Variant
from toolchain.files import file_sha256
from toolchain.runtime.array_headers import ARRAYS
from toolchain.runtime.card import CARD_KEY, Acceptance, encode_card
from toolchain.runtime.onnxfile.scan import Value
from toolchain.verification.inspection import inspect_model

CLASSES = ("across", "aslant", "down")


@pytest.fixture
def own(exported: Path, tmp_path: Path) -> Path:
    """A copy of the export folder, which a test may change."""
    return shutil.copytree(exported, tmp_path / "export")


@pytest.fixture(scope="module")
def program(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as a .pt2 file."""
    [made] = accepted_models(
        export(run_folder, [Variant("pt2")], tmp_path_factory.mktemp("pt2"), images=3)
    )
    return made.path


@pytest.mark.parametrize(
    ("name", "model_format"), [("model.onnx", "onnx"), ("model.torchscript.pt", "torchscript")]
)
def test_a_file_is_described_by_its_card(exported: Path, name: str, model_format: str) -> None:
    found = inspect_model(exported / name)
    assert found.model == str(exported / name)
    assert found.bytes == (exported / name).stat().st_size
    assert found.sha256 == file_sha256(exported / name)
    assert (found.card.format, found.card.classes) == (model_format, CLASSES)
    assert found.card.metrics is not None


def test_an_onnx_file_is_read_and_not_only_its_card(model: Path) -> None:
    found = inspect_model(model)
    assert found.graph is not None
    assert (found.graph.opset, found.graph.ir_version) == (18, 8)
    assert found.graph.nodes == len(onnx.load(model).graph.node)
    assert found.graph.inputs == (Value("pixels", "tensor(uint8)", ("batch", 64, 64, 3)),)
    assert [value.name for value in found.graph.outputs] == ["probabilities", "logits"]
    assert found.opening is not None
    assert found.opening.opened
    assert found.opening.onnxruntime == onnxruntime.__version__


def test_a_file_that_another_tool_quantised_is_not_described_by_its_card_alone(
    tmp_path: Path,
) -> None:
    model = tiny_model()
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.INT8, [1, 2], [1, 2])
    model.graph.initializer.append(weights)
    found = inspect_model(write(model, tmp_path / "quantised.onnx"))
    assert found.graph is not None
    assert (found.graph.precision, found.card.precision) == ("int8", "fp32")
    assert "onnx int8" in repr(found)
    assert "changed by another tool: its card is of a file in fp32" in " ".join(repr(found).split())
    plain = inspect_model(write(tiny_model(), tmp_path / "plain.onnx"))
    assert "onnx fp32" in repr(plain)
    assert "changed by another tool" not in repr(plain)


def test_files_of_every_format_are_described_without_torch(exported: Path, program: Path) -> None:
    files = [exported / "model.onnx", exported / "model.torchscript.pt", program]
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from toolchain.verification.inspection import inspect_model\n"
        "for name in sys.argv[1:]:\n"
        "    found = inspect_model(name)\n"
        "    print(found.card.format, found.parity.belongs, found.references.images)"
    )
    command = [sys.executable, "-c", code, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["onnx True 24", "torchscript True 24", "pt2 True 3"]


def test_report_and_references_beside_the_file_belong_to_it(exported: Path) -> None:
    path = exported / "model.onnx"
    found, stored = (
        inspect_model(path),
        json.loads((exported / f"{path.name}.parity.json").read_text()),
    )
    assert found.parity is not None
    assert found.parity.belongs
    assert found.parity.passed
    assert found.parity.unreadable is None
    assert found.parity.versions == stored["versions"]
    assert [level.level for level in found.parity.levels] == [v["level"] for v in stored["levels"]]
    assert found.parity.written.endswith("+00:00")
    assert found.references is not None
    assert (found.references.belongs, found.references.images) == (True, 24)
    assert found.rejected is None


def test_a_lone_file_has_no_reports_and_references(model: Path, tmp_path: Path) -> None:
    found = inspect_model(Path(shutil.copy(model, tmp_path)))
    assert (found.parity, found.references, found.rejected) == (None, None, None)


def test_report_of_another_file_does_not_belong(own: Path) -> None:
    path = own / "model.onnx"
    tampering.tampered(path, path, tampering.one_weight)
    found = inspect_model(path).parity
    assert found is not None
    assert not found.belongs
    assert found.passed  # that other file did


def test_report_of_version_1_is_read(own: Path) -> None:
    report = own / "model.onnx.parity.json"
    content = json.loads(report.read_text())
    content["version"] = 1
    for level in content["levels"]:
        del level["summary"], level["where"]
    report.write_text(json.dumps(content))
    found = inspect_model(own / "model.onnx").parity
    assert found is not None
    assert (found.belongs, found.passed, found.unreadable) == (True, True, None)
    assert len(found.levels) == len(content["levels"])


def test_report_of_version_2_is_read_with_its_names_of_references(own: Path) -> None:
    report = own / "model.onnx.parity.json"
    content = json.loads(report.read_text())
    content["version"] = 2
    old_names = {"image formats": "odd kinds", "graph's input": "graph's door"}
    for level in content["levels"]:
        level["against"] = old_names.get(level["against"], level["against"])
    report.write_text(json.dumps(content))
    found = inspect_model(own / "model.onnx").parity
    assert found is not None
    assert (found.belongs, found.passed, found.unreadable) == (True, True, None)
    assert "odd kinds" in {level.against for level in found.levels}


def test_report_that_passed_while_one_of_its_levels_did_not_has_not_passed(own: Path) -> None:
    report = own / "model.onnx.parity.json"
    content = json.loads(report.read_text())
    content["levels"][0]["passed"] = False
    report.write_text(json.dumps(content))
    found = inspect_model(own / "model.onnx").parity
    assert found is not None
    assert not found.passed


@pytest.mark.parametrize(
    "text", ['{"version": 1', "[]", "", "[" * 100_000, '{"levels": 3}', '{"sha256": "\x85"}']
)
def test_damaged_report_is_reported_as_unreadable(own: Path, text: str) -> None:
    (own / "model.onnx.parity.json").write_text(text, encoding="latin-1")
    found = inspect_model(own / "model.onnx").parity
    assert found is not None
    assert found.unreadable
    assert (found.belongs, found.passed, found.levels) == (False, False, ())


def test_report_that_is_too_large_is_not_read(own: Path) -> None:
    os.truncate(own / "model.onnx.parity.json", 2**40)  # takes no space on the disk
    found = inspect_model(own / "model.onnx").parity
    assert found is not None
    assert found.unreadable == "it is too large"


def test_report_of_a_file_that_was_not_kept_is_shown_beside(own: Path) -> None:
    content = json.loads((own / "model.onnx.parity.json").read_text())
    content |= {"passed": False, "sha256": "0" * 64}
    content["levels"][1]["passed"] = False
    (own / "model.onnx.rejected.json").write_text(json.dumps(content))
    found = inspect_model(own / "model.onnx").rejected
    assert found is not None
    assert (found.belongs, found.passed) == (False, False)
    assert [level.passed for level in found.levels].count(False) == 1


def test_references_of_other_classes_do_not_belong(own: Path) -> None:
    path = tampering.tampered(
        own / "model.onnx", own / "model.onnx", tampering.other_order_on_the_card
    )
    found = inspect_model(path).references
    assert found is not None
    assert (found.belongs, found.images) == (False, 24)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_damaged_references_are_reported_as_unreadable(own: Path, content: bytes) -> None:
    (own / "model.onnx.references.npz").write_bytes(content)
    found = inspect_model(own / "model.onnx").references
    assert found is not None
    assert found.unreadable
    assert not found.belongs


def test_references_with_endless_names_are_not_read(own: Path) -> None:
    path = own / "model.onnx.references.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ARRAYS:
            archive.writestr(f"{name}.npy", bytes(2**28 + 1) if name == "names" else b"")
    found = inspect_model(own / "model.onnx").references
    assert found is not None
    assert str(found.unreadable).startswith("it unpacks to 268,435,457 bytes")


def test_a_file_that_this_onnxruntime_can_not_open_is_still_described(own: Path) -> None:
    def future(content: onnx.ModelProto) -> None:
        content.graph.node[0].op_type = "Transpose9"

    path = tampering.tampered(own / "model.onnx", own / "model.onnx", future)
    found = inspect_model(path)
    assert found.card.classes == CLASSES
    assert found.opening is not None
    assert not found.opening.opened
    assert "Transpose9" in str(found.opening.reason)
    assert str(path) not in str(found.opening.reason)


def test_without_onnxruntime_an_onnx_file_is_described(model: Path) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from toolchain.verification.inspection import inspect_model\n"
        "found = inspect_model(sys.argv[1])\n"
        "print(found.card.classes, found.opening.onnxruntime, found.opening.reason)"
    )
    command = [sys.executable, "-c", code, str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{CLASSES} None onnxruntime is not installed"


def test_model_without_a_card_is_refused(own: Path) -> None:
    def forget(content: onnx.ModelProto) -> None:
        del content.metadata_props[:]

    path = tampering.tampered(own / "model.onnx", own / "model.onnx", forget)
    with pytest.raises(ModelFileError, match="has no rtl card"):
        inspect_model(path)


def test_archive_of_something_else_is_refused(exported: Path) -> None:
    with pytest.raises(ModelFileError, match="has no rtl card"):
        inspect_model(exported / "model.onnx.references.npz")


def test_cut_off_torchscript_is_refused(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.torchscript.pt"
    path.write_bytes((exported / "model.torchscript.pt").read_bytes()[:1_000_000])
    with pytest.raises(ModelFileError, match=r"model\.torchscript\.pt") as caught:
        inspect_model(path)
    assert "truncated" in str(caught.value.hint)


def on_a_terminal(folder: Path, columns: int, *words: str) -> str:
    """Return the output of a command on a terminal of this many columns."""
    outer, inner = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "dumb"}
    command = [sys.executable, "-m", "toolchain", *words]
    with subprocess.Popen(command, stdout=inner, stderr=inner, cwd=folder, env=env):
        os.close(inner)
        shown = b""
        try:
            while part := os.read(outer, 65536):
                shown += part
        except OSError:  # the end of the output of a terminal
            pass
    os.close(outer)
    return shown.decode().replace("\r", "")


@pytest.mark.parametrize("columns", [80, 120])
def test_the_page_fits_a_terminal_and_names_what_matters(own: Path, columns: int) -> None:
    page = on_a_terminal(own, columns, "inspect", "model.onnx")
    lines = page.splitlines()
    assert max(map(len, lines)) <= columns
    found = inspect_model(own / "model.onnx")
    for expected in (
        "onnx fp32",
        "opset 18, IR version 8",
        f"onnxruntime 1.15 or newer; opened in {onnxruntime.__version__}",
        "uint8 [batch, 64, 64, 3]",
        "3: across, aslant, down",
        found.sha256,
        found.card.weights.sha256,
        "24 images of the same classes",
    ):
        assert any(expected in line for line in lines), expected
    assert found.parity is not None
    count = len(found.parity.levels)
    assert f"{count} of {count} levels passed" in page
    assert page.count("✓") == count


def test_the_page_shows_what_does_not_belong_and_what_fell_short(own: Path, rtl: Rtl) -> None:
    report = own / "model.onnx.parity.json"
    content = json.loads(report.read_text())
    content["levels"][2]["passed"] = content["passed"] = False
    (own / "model.onnx.rejected.json").write_text(json.dumps({**content, "sha256": "0" * 64}))
    report.write_text(json.dumps(content))
    page = rtl("inspect", own / "model.onnx").stdout
    count, short = len(content["levels"]), content["levels"][2]
    assert f"{count - 1} of {count} levels passed" in page
    assert page.count("FAILED") == 1
    assert f"was not kept, for {short['level']} against the {short['against']}" in page
    tampering.tampered(own / "model.onnx", own / "model.onnx", tampering.one_weight)
    [line] = [v for v in rtl("inspect", own / "model.onnx").stdout.splitlines() if "parity" in v]
    assert (
        line.split()[2:]
        == f"NO about another file, where {count - 1} of {count} levels passed".split()
    )


def test_the_page_of_a_lower_precision_shows_what_it_cost(tmp_path: Path, rtl: Rtl) -> None:
    cost = Acceptance(
        images=200,
        accuracy_before=0.95,
        accuracy_after=0.94,
        p_value=0.5,
        max_drop=0.02,
        flips=3,
        max_flips=0.02,
        speed_ratio=2.5,
        speed_provider="cpu",
        kept_float=("conv1",),
    )
    card = tiny_card(
        precision="int8", acceptance=cost, trained_size=6, versions={"rtl": "\x1b[31m9"}
    )
    model = tiny_model(card=encode_card(card))
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.INT8, [1, 2], [1, 2])
    model.graph.initializer.append(weights)
    path = write(model, tmp_path / "model.int8.onnx")
    page = rtl("inspect", path).stdout
    assert "onnx int8" in page
    assert "95.0 % → 94.0 %" in page
    assert "2.50 ×" in page
    assert "in float: conv1" in " ".join(page.split())
    assert "trained at 6" in page
    assert "\x1b" not in page
    assert "metrics" not in page


def test_json_has_the_keys_that_others_read(own: Path, rtl: Rtl) -> None:
    done = rtl("inspect", own / "model.onnx", "--json")
    found = json.loads(done.stdout)
    assert (found["version"], found["card"]["precision"], found["card"]["input"]) == (
        2,
        "fp32",
        "pixels",
    )
    assert found["graph"]["inputs"] == [
        {"name": "pixels", "type": "tensor(uint8)", "shape": ["batch", 64, 64, 3]}
    ]
    expected = msgspec.json.decode(msgspec.json.encode(inspect_model(own / "model.onnx")))
    assert found == expected
    documented = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
    page = documented.partition("## rtl inspect")[2].partition("\n## ")[0]
    for key, value in found.items():
        assert f"| `{key}`" in page
        if key != "card" and isinstance(value, dict):
            for inner in value:
                assert f"`{key}.{inner}`" in page or f"`.{inner}`" in page, f"{key}.{inner}"


def test_names_of_a_thousand_classes_do_not_fill_the_page(tmp_path: Path, rtl: Rtl) -> None:
    model = tiny_model()
    names = tuple(f"class {i}" for i in range(1000))
    for tensor, shape in (("weight", (3, 1000)), ("bias", (1000,))):
        [initializer] = [t for t in model.graph.initializer if t.name == tensor]
        initializer.CopyFrom(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), tensor))
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].dim_value = 1000
    onnx.helper.set_model_props(model, {CARD_KEY: encode_card(tiny_card(classes=names))})
    page = rtl("inspect", write(model, tmp_path / "model.onnx")).stdout
    assert "class 19, … and 980 more" in page
    assert "class 20" not in page
