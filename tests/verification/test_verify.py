"""`verify` on real files: which references it finds, and which levels wrong files fail."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from tests.verification import tampering
from toolchain.backends.backend import open_backend
from toolchain.data.audit_result import Audit, Unreadable
from toolchain.errors import (
    DataError,
    MissingExtraError,
    ModelFileError,
    ParityError,
    ProviderError,
)
from toolchain.files import file_sha256
from toolchain.progress import SilentReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.stored_outputs import (
    read_stored_outputs,
    write_stored_outputs,
)
from toolchain.verification.comparison import compare_with_references
from toolchain.verification.references.trained_model import TrainedReference, open_trained_reference
from toolchain.verification.result import Level, Verification, require_parity
from toolchain.verification.verify import verify

# The files were verified in every session at export; these tests are about references.
pytestmark = pytest.mark.usefixtures("quickly")

CARD = [("numbers", "card"), ("sessions", "card")]
REFERENCES = [(level, "references") for level in ("numbers", "decisions", "pixels")]
RUN = [
    *((level, "run") for level in ("card", "numbers", "decisions", "pixels")),
    ("pixels", "image formats"),
]
OWN = [("batches", "single images")]
REPORT = [("card", "report")]


@pytest.fixture(scope="module")
def trained(run_folder: Path) -> TrainedReference:
    """The trained model and nine images, opened once."""
    return open_trained_reference(TrainedRun.open(run_folder), images=9)


@pytest.fixture(scope="module")
def lone(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model copied elsewhere, without anything beside it."""
    return Path(shutil.copy(model, tmp_path_factory.mktemp("lone") / "dish.onnx"))


def against(result: Verification) -> list[tuple[str, str]]:
    return [(level.level, level.against) for level in result.levels]


def level_of(result: Verification, level: str, reference: str) -> Level:
    [found] = [one for one in result.levels if (one.level, one.against) == (level, reference)]
    return found


def failures(result: Verification) -> set[tuple[str, str]]:
    return {(level.level, level.against) for level in result.levels if not level.passed}


def verified_in_run(path: Path, trained: TrainedReference, exported: Path) -> Verification:
    stored = read_stored_outputs(exported / "model.onnx.references.npz")
    return compare_with_references(
        open_backend(path), path, stored=stored, trained=trained, progress=SilentReporter()
    )


def test_a_lone_file_is_compared_with_its_card(lone: Path) -> None:
    result = verify(lone)
    assert result.passed
    assert against(result) == CARD + OWN
    assert (result.model, result.sha256) == (str(lone), file_sha256(lone))
    assert result.levels[0].figures["inputs"] == 7


def test_outputs_beside_the_file_are_a_second_reference(
    lone: Path, exported: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copy(lone, tmp_path / "dish.onnx"))
    shutil.copy(exported / "model.onnx.references.npz", tmp_path / "dish.onnx.references.npz")
    result = verify(model)
    assert result.passed
    assert against(result) == CARD + REFERENCES + OWN
    assert level_of(result, "decisions", "references").figures["images"] == 24


def test_in_the_run_folder_the_trained_model_is_the_third_reference(model: Path) -> None:
    result = verify(model, images=5)
    assert result.passed
    assert against(result) == REPORT + CARD + REFERENCES + RUN + OWN
    assert level_of(result, "decisions", "run").figures["images"] == 5


def test_run_names_the_run_folder_of_a_moved_file(lone: Path, run_folder: Path) -> None:
    result = verify(lone, run=run_folder, images=5)
    assert result.passed
    assert against(result) == CARD + RUN + OWN


def test_torchscript_is_verified_by_the_same_levels(exported: Path) -> None:
    result = verify(exported / "model.torchscript.pt", images=5)
    assert result.passed
    # onnxruntime has no session for it.
    assert against(result) == [*REPORT, ("numbers", "card"), *REFERENCES, *RUN, *OWN]
    assert level_of(result, "numbers", "run").figures["layers"] == 42


def test_images_that_were_too_large_to_store_are_compared_by_their_pixels(
    lone: Path, exported: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copy(lone, tmp_path / "dish.onnx"))
    stored = read_stored_outputs(exported / "model.onnx.references.npz")
    bare = dataclasses.replace(stored, files=(b"",) * len(stored))
    write_stored_outputs(bare, tmp_path / "dish.onnx.references.npz")
    result = verify(model)
    assert result.passed
    assert against(result) == [*CARD, ("numbers", "references"), *OWN]


def test_result_as_json_has_the_keys_that_others_read(lone: Path) -> None:
    found = json.loads(msgspec.json.encode(verify(lone)))
    assert found.keys() == {
        "version",
        "model",
        "sha256",
        "provider",
        "passed",
        "levels",
        "versions",
        "seconds",
    }
    keys = {"level", "against", "passed", "rule", "summary", "figures", "where"}
    assert found["levels"][0].keys() == keys
    assert found["provider"] == "cpu"
    assert "onnxruntime" in found["versions"]


@pytest.mark.parametrize(
    "change",
    [
        tampering.one_weight,
        tampering.weights_that_are_no_numbers,
        tampering.other_mean,
        tampering.other_order_of_outputs,
    ],
)
def test_a_changed_model_with_its_old_card_fails_against_every_reference(
    lone: Path,
    exported: Path,
    trained: TrainedReference,
    tmp_path: Path,
    change: tampering.Tampering,
) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", change)
    result = verified_in_run(path, trained, exported)
    assert not result.passed
    assert failures(result) >= {("numbers", name) for name in ("card", "references", "run")}
    with pytest.raises(ParityError, match="numbers against the card failed") as caught:
        require_parity(result)
    assert "the rule is" in str(caught.value.hint)


def test_changed_probabilities_fail_against_the_run(
    lone: Path, exported: Path, trained: TrainedReference, tmp_path: Path
) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", tampering.hotter_softmax)
    assert ("numbers", "run") in failures(verified_in_run(path, trained, exported))


def test_changed_probabilities_fail_against_the_stored_outputs_too(
    lone: Path, exported: Path, tmp_path: Path
) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", tampering.hotter_softmax)
    shutil.copy(exported / "model.onnx.references.npz", f"{path}.references.npz")
    assert not verify(path).passed


def test_class_names_in_another_order_fail(
    lone: Path, exported: Path, trained: TrainedReference, tmp_path: Path
) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", tampering.other_order_on_the_card)
    assert not verified_in_run(path, trained, exported).passed


def test_a_model_that_takes_one_image_only_fails_with_a_message(lone: Path, tmp_path: Path) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", tampering.batch_of_one)
    try:
        assert not verify(path).passed
    except (ParityError, ModelFileError) as error:
        assert "batch" in str(error)  # noqa: PT017  (either error will do)


def test_another_crop_on_the_card_fails_by_its_images(
    lone: Path, exported: Path, trained: TrainedReference, tmp_path: Path
) -> None:
    squash = msgspec.structs.replace(trained.eager.card.preprocessing, mode="squash")
    change = tampering.card_says(preprocessing=squash)
    result = verified_in_run(
        tampering.tampered(lone, tmp_path / "changed.onnx", change), trained, exported
    )
    assert ("numbers", "run") in failures(result)
    assert ("numbers", "card") not in failures(result)


def test_proof_of_another_model_fails(lone: Path, tmp_path: Path) -> None:
    proof = open_backend(lone).card.proof
    assert proof is not None
    logits = tuple(tuple(value + 1 for value in row) for row in proof.logits)
    change = tampering.card_says(proof=msgspec.structs.replace(proof, logits=logits))
    path = tampering.tampered(lone, tmp_path / "changed.onnx", change)
    assert failures(verify(path)) == {("numbers", "card")}


def test_file_of_another_number_of_classes_is_refused(
    lone: Path, run_folder: Path, tmp_path: Path
) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", tampering.one_class_more)
    result = verify(path, run=run_folder, images=2)
    assert failures(result) == {("card", "run"), ("numbers", "run")}
    summary = level_of(result, "numbers", "run").summary
    assert re.search(r"shape .*4\), expected .*3\)", summary)


def test_a_file_without_any_reference_is_an_error(lone: Path, tmp_path: Path) -> None:
    change = tampering.card_says(proof=None)
    path = tampering.tampered(lone, tmp_path / "bare.onnx", change)
    with pytest.raises(ParityError, match="nothing to verify") as caught:
        verify(path)
    assert "--run" in str(caught.value.hint)


def test_moved_data_of_the_run_is_an_error_and_data_says_where_it_is(
    lone: Path, run_folder: Path, stripes: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    for name in ("card.json", "model.safetensors", "settings.toml"):
        shutil.copy(run_folder / name, run.path)
    run.settings.write_text(run.settings.read_text().replace("stripes", "gone"))
    with pytest.raises(DataError, match="no longer there") as caught:
        verify(lone, run=run.path)
    assert "--data" in str(caught.value.hint)
    assert verify(lone, run=run.path, data=str(stripes)).passed


def test_a_file_in_a_run_without_its_data_is_verified_without_the_run(
    run_folder: Path, exported: Path, tmp_path: Path
) -> None:
    run = RunFolder(shutil.copytree(run_folder, tmp_path / "run"))
    run.settings.write_text(run.settings.read_text().replace("stripes", "gone"))
    result = verify(run.model_file("onnx"))
    assert result.passed
    references = {"report", "card", "references", "single images"}
    assert {level.against for level in result.levels} == references


def test_a_torch_that_cannot_be_imported_ends_the_verification_only_where_a_run_was_named(
    run_folder: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> TrainedReference:
        raise MissingExtraError("torch", "train", "libcudart.so.12 is missing")

    monkeypatch.setattr("toolchain.verification.verify.open_trained_reference", broken)
    recorder = Recorder()
    file = RunFolder(run_folder).model_file("onnx")
    result = verify(file, progress=recorder)
    assert result.passed
    assert any("libcudart" in line and "without the run" in line for line in recorder.messages)
    with pytest.raises(MissingExtraError):
        verify(file, run=run_folder)


class Recorder(SilentReporter):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def test_images_that_neither_side_can_read_are_left_out_with_a_message(
    lone: Path, run_folder: Path, stripes: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(stripes, tmp_path / "stripes"))
    for name, kept in (("across/00.jpg", 700), ("down/07.jpg", 0)):
        broken = data / "val" / name
        broken.write_bytes(broken.read_bytes()[:kept])
    recorder = Recorder()
    result = verify(lone, run=run_folder, data=str(data), progress=recorder)
    assert result.passed
    assert level_of(result, "decisions", "run").figures["images"] == 22
    assert level_of(result, "pixels", "run").figures["left_out"] == 2
    assert [line for line in recorder.messages if "val/across/00.jpg" in line]


def test_a_run_of_which_no_image_can_be_read_fails(
    lone: Path, run_folder: Path, stripes: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(stripes, tmp_path / "stripes"))
    for broken in (data / "val").rglob("*.jpg"):
        broken.write_bytes(b"not an image")
    result = verify(lone, run=run_folder, data=str(data))
    assert failures(result) == {("numbers", "run")}
    summary = level_of(result, "numbers", "run").summary
    assert summary == "none of 24 validation images can be read"


def test_an_image_that_the_predictor_alone_refuses_is_a_difference(
    lone: Path, run_folder: Path, stripes: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(stripes, tmp_path / "stripes"))
    # Pillow converts 32-bit floats to RGB; rtl has no rule for them and refuses.
    Image.new("F", (80, 80), 0.5).save(data / "val/down/99.tif")
    result = verify(lone, run=run_folder, data=str(data))
    level = level_of(result, "pixels", "run")
    assert failures(result) == {("pixels", "run")}
    assert level.figures["different"] == 1
    assert re.search(r"decode: .*32-bit float .*\(val/down/99\.tif\)", str(level.where))


def test_a_damaged_image_among_the_stored_outputs_fails_its_level(
    lone: Path, exported: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copy(lone, tmp_path / "dish.onnx"))
    stored = read_stored_outputs(exported / "model.onnx.references.npz")
    damaged = dataclasses.replace(stored, files=(b"not an image", *stored.files[1:]))
    write_stored_outputs(damaged, tmp_path / "dish.onnx.references.npz")
    result = verify(model)
    assert failures(result) == {("pixels", "references")}
    assert str(level_of(result, "pixels", "references").where).startswith("decode: ")


def test_stored_outputs_of_another_size_fail(lone: Path, exported: Path, tmp_path: Path) -> None:
    model = Path(shutil.copy(lone, tmp_path / "dish.onnx"))
    stored = read_stored_outputs(exported / "model.onnx.references.npz")
    small = dataclasses.replace(stored, pixels=stored.pixels[:, :32, :32])
    write_stored_outputs(small, tmp_path / "dish.onnx.references.npz")
    assert failures(verify(model)) == {("card", "references")}


def test_a_file_and_its_stored_outputs_are_verified_without_torch(
    lone: Path, exported: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copy(lone, tmp_path / "dish.onnx"))
    shutil.copy(exported / "model.onnx.references.npz", f"{model}.references.npz")
    code = f"""
import sys
for package in ("torch", "torchvision", "onnx"):
    sys.modules[package] = None  # importing it is an ImportError
from toolchain.verification.verify import verify
print([(level.level, level.against) for level in verify({str(model)!r}).levels if level.passed])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(CARD + REFERENCES + OWN)


@pytest.mark.parametrize("provider", ["tensorrt", "quantum"])
@pytest.mark.parametrize("file", ["model.onnx", "model.torchscript.pt"])
def test_provider_that_is_missing_is_an_error_not_another_provider(
    exported: Path, provider: str, file: str
) -> None:
    with pytest.raises(ProviderError, match=f"'{provider}' is not available"):
        verify(exported / file, provider=provider)


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x05\x06" + b"\0" * 18])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.onnx"):
        verify(path)


def test_a_trained_reference_spreads_its_images_over_the_classes(trained: TrainedReference) -> None:
    assert len(trained.names) == len(trained.paths) == 9
    assert {name.split("/")[1] for name in trained.names} == {"across", "aslant", "down"}
    assert np.isfinite(trained.eager.run(np.zeros((1, 64, 64, 3), np.uint8)).logits).all()


def test_a_trained_reference_leaves_out_what_training_left_out(
    run_folder: Path, stripes: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(stripes, tmp_path / "data")
    (data / "val" / "down" / "03.jpg").write_bytes(b"damaged")
    skip = shutil.ignore_patterns("export")
    run = RunFolder(shutil.copytree(run_folder, tmp_path / "run", ignore=skip))
    audit = msgspec.json.decode(run.audit.read_bytes(), type=Audit)
    left_out = (Unreadable("val/down/03.jpg", "damaged"),)
    run.audit.write_bytes(msgspec.json.encode(msgspec.structs.replace(audit, unreadable=left_out)))
    names = open_trained_reference(TrainedRun.open(run.path, data=str(data))).names
    assert len(names) == 23
    assert "val/down/03.jpg" not in names
