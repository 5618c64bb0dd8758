"""`verify` on real files: which witnesses it finds, and what it makes of wrong files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.verify import tampering
from toolchain.data.audit import Audit, Unreadable
from toolchain.errors import DataError, ModelFileError, ParityError, ProviderError
from toolchain.narrator import Silent
from toolchain.runfolder import RunFolder
from toolchain.verify.backends import open_backend
from toolchain.verify.levels import Verification, require_parity
from toolchain.verify.references import References, read_references, write_references
from toolchain.verify.verify import file_sha256, verify, verify_backend
from toolchain.verify.workshop import Workshop, open_workshop

CARD, REFERENCES, RUN = (
    [("numbers", "card")],
    [("numbers", "references"), ("decisions", "references")],
    [("card", "run"), ("numbers", "run"), ("decisions", "run")],
)


@pytest.fixture(scope="module")
def workshop(run_folder: Path) -> Workshop:
    """The trained model and nine images, opened once."""
    return open_workshop(RunFolder(run_folder), images=9)


@pytest.fixture(scope="module")
def lone(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model copied elsewhere, without anything beside it."""
    return Path(shutil.copy(model, tmp_path_factory.mktemp("lone") / "dish.onnx"))


def against(result: Verification) -> list[tuple[str, str]]:
    return [(level.level, level.against) for level in result.levels]


def failures(result: Verification) -> set[tuple[str, str]]:
    return {(level.level, level.against) for level in result.levels if not level.passed}


def in_workshop(path: Path, workshop: Workshop, exported: Path) -> Verification:
    references = read_references(exported / "model.onnx.references.npz")
    return verify_backend(
        open_backend(path), path, references=references, workshop=workshop, narrator=Silent()
    )


def test_a_lone_file_is_proved_by_its_card(lone: Path) -> None:
    result = verify(lone)
    assert result.passed
    assert against(result) == CARD
    assert (result.model, result.sha256) == (str(lone), file_sha256(lone))
    assert result.levels[0].figures["inputs"] == 4


def test_references_beside_the_file_are_a_second_witness(
    lone: Path, exported: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copy(lone, tmp_path / "dish.onnx"))
    shutil.copy(exported / "model.onnx.references.npz", tmp_path / "dish.onnx.references.npz")
    result = verify(model)
    assert result.passed
    assert against(result) == CARD + REFERENCES
    assert result.levels[2].figures["images"] == 24


def test_in_the_workshop_the_trained_model_is_the_third(model: Path) -> None:
    result = verify(model, images=5)
    assert result.passed
    assert against(result) == CARD + REFERENCES + RUN
    assert result.levels[-1].figures["images"] == 5


def test_run_names_the_run_folder_of_a_moved_file(lone: Path, run_folder: Path) -> None:
    result = verify(lone, run=run_folder, images=5)
    assert result.passed
    assert against(result) == CARD + RUN


def test_torchscript_is_verified_by_the_same_levels(exported: Path) -> None:
    result = verify(exported / "model.torchscript.pt", images=5)
    assert result.passed
    assert against(result) == CARD + REFERENCES + RUN


def test_images_that_were_too_large_to_travel_are_compared_by_their_pixels(
    lone: Path, exported: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copy(lone, tmp_path / "dish.onnx"))
    r = read_references(exported / "model.onnx.references.npz")
    bare = References(r.classes, r.names, (b"",) * len(r), r.pixels, r.probabilities, r.logits)
    write_references(bare, tmp_path / "dish.onnx.references.npz")
    result = verify(model)
    assert result.passed
    assert against(result) == [*CARD, ("numbers", "references")]


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
    assert found["levels"][0].keys() == {"level", "against", "passed", "rule", "figures"}
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
def test_a_changed_model_with_its_old_card_fails_by_every_witness(
    lone: Path, exported: Path, workshop: Workshop, tmp_path: Path, change: tampering.Tampering
) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", change)
    result = in_workshop(path, workshop, exported)
    assert not result.passed
    assert failures(result) >= {("numbers", witness) for witness in ("card", "references", "run")}
    with pytest.raises(ParityError, match="numbers against the card fell short") as caught:
        require_parity(result)
    assert "the rule is" in str(caught.value.hint)


def test_changed_probabilities_fail_in_the_workshop(
    lone: Path, exported: Path, workshop: Workshop, tmp_path: Path
) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", tampering.hotter_softmax)
    assert ("numbers", "run") in failures(in_workshop(path, workshop, exported))


def test_changed_probabilities_fail_by_the_references_too(
    lone: Path, exported: Path, tmp_path: Path
) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", tampering.hotter_softmax)
    shutil.copy(exported / "model.onnx.references.npz", f"{path}.references.npz")
    assert not verify(path).passed


def test_class_names_in_another_order_fail(
    lone: Path, exported: Path, workshop: Workshop, tmp_path: Path
) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", tampering.other_order_on_the_card)
    assert not in_workshop(path, workshop, exported).passed


def test_a_model_that_takes_one_image_only_fails_with_a_message(lone: Path, tmp_path: Path) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", tampering.batch_of_one)
    try:
        assert not verify(path).passed
    except (ParityError, ModelFileError) as error:
        assert "batch" in str(error)  # noqa: PT017  (either way of saying so will do)


def test_another_crop_on_the_card_fails_by_the_images(
    lone: Path, exported: Path, workshop: Workshop, tmp_path: Path
) -> None:
    squash = msgspec.structs.replace(workshop.eager.card.preprocessing, mode="squash")
    change = tampering.card_says(preprocessing=squash)
    result = in_workshop(
        tampering.tampered(lone, tmp_path / "changed.onnx", change), workshop, exported
    )
    assert ("numbers", "run") in failures(result)
    assert ("numbers", "card") not in failures(result)


def test_proof_of_another_model_fails(lone: Path, tmp_path: Path) -> None:
    proof = open_backend(lone).card.proof
    assert proof is not None
    logits = tuple(tuple(value + 1 for value in row) for row in proof.logits)
    change = tampering.card_says(proof=msgspec.structs.replace(proof, logits=logits))
    path = tampering.tampered(lone, tmp_path / "changed.onnx", change)
    assert failures(verify(path)) == set(CARD)


def test_file_of_another_number_of_classes_is_refused(
    lone: Path, run_folder: Path, tmp_path: Path
) -> None:
    path = tampering.tampered(lone, tmp_path / "changed.onnx", tampering.one_class_more)
    with pytest.raises(ParityError, match=r"shape .*4\), expected .*3\)"):
        verify(path, run=run_folder, images=2)


def test_without_any_witness_nothing_is_claimed(lone: Path, tmp_path: Path) -> None:
    change = tampering.card_says(proof=None)
    path = tampering.tampered(lone, tmp_path / "bare.onnx", change)
    with pytest.raises(ParityError, match="nothing to verify") as caught:
        verify(path)
    assert "--run" in str(caught.value.hint)


def test_data_of_the_run_that_moved_is_asked_for_and_taken_from_there(
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
    assert {level.against for level in result.levels} == {"card", "references"}


def test_provider_that_is_missing_is_an_error_not_another_provider(lone: Path) -> None:
    with pytest.raises(ProviderError, match="'tensorrt' is not available"):
        verify(lone, provider="tensorrt")


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x05\x06" + b"\0" * 18])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.onnx"):
        verify(path)


def test_workshop_spreads_its_images_over_the_classes(workshop: Workshop) -> None:
    assert len(workshop.names) == len(workshop.paths) == 9
    assert {name.split("/")[1] for name in workshop.names} == {"across", "aslant", "down"}
    assert np.isfinite(workshop.eager.run(np.zeros((1, 64, 64, 3), np.uint8))[1]).all()


def test_workshop_leaves_out_what_training_left_out(run_folder: Path, tmp_path: Path) -> None:
    skip = shutil.ignore_patterns("export")
    run = RunFolder(shutil.copytree(run_folder, tmp_path / "run", ignore=skip))
    audit = msgspec.json.decode(run.audit.read_bytes(), type=Audit)
    left_out = (Unreadable("val/down/03.jpg", "damaged"),)
    run.audit.write_bytes(msgspec.json.encode(msgspec.structs.replace(audit, unreadable=left_out)))
    names = open_workshop(run).names
    assert len(names) == 23
    assert "val/down/03.jpg" not in names
