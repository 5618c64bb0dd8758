"""`rtl data check` with a network: the labels that its features contradict, and without one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT, Rtl, tree_digest
from toolchain.checking.backbone import has_default_weights
from toolchain.checking.check import CheckOptions, check_data
from toolchain.data.layouts import read_dataset
from toolchain.errors import SettingsError
from toolchain.progress import SilentReporter


@pytest.fixture
def no_default_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def mislabelled(stripes: Path, tmp_path: Path) -> Path:
    """The stripes with two training images in the wrong class."""
    data = shutil.copytree(stripes, tmp_path / "data")
    (data / "train/down/03.jpg").rename(data / "train/across/wrong.jpg")
    (data / "train/aslant/04.jpg").rename(data / "train/down/wrong.jpg")
    return data


def test_labels_that_a_run_contradicts_are_named_with_what_they_are_likelier(
    run_folder: Path, mislabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree_digest(mislabelled)
    fix_list = tmp_path / "fix.csv"
    audit = check_data(
        str(mislabelled), CheckOptions(run=str(run_folder), fix_list=str(fix_list), device="cpu")
    )
    assert tree_digest(mislabelled) == before
    found = audit.label_errors
    assert found is not None
    assert (found.images, found.weights) == (72, "run stripes")
    assert len(found.suspects) >= 8  # at least a tenth
    first = {s.file: (s.label, s.likelier, s.split) for s in found.suspects[:3]}
    assert first["train/across/wrong.jpg"] == ("across", "down", "train")
    assert first["train/down/wrong.jpg"] == ("down", "aslant", "train")
    probabilities = [suspect.label_probability for suspect in found.suspects]
    assert probabilities == sorted(probabilities)
    assert found.suspects[0].contradicted
    assert all(len(s.neighbours) == 3 and s.file not in s.neighbours for s in found.suspects)
    assert 'train/down/wrong.jpg,"label may be wrong: down' in fix_list.read_text()
    assert "look, or relabel as aslant" in fix_list.read_text()
    assert "labels that may be wrong" in repr(audit)
    monkeypatch.setattr("toolchain.training.features.compute.Engine.__call__", not_again)
    again = check_data(str(mislabelled), CheckOptions(run=str(run_folder), device="cpu"))
    assert again.label_errors == found


def test_an_image_alone_in_its_class_is_not_judged_and_changes_no_figure(
    run_folder: Path, stripes: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(stripes, tmp_path / "data")
    options = CheckOptions(run=str(run_folder), device="cpu")
    before = check_data(str(data), options).label_errors
    (data / "train/alone").mkdir()
    Image.effect_noise((64, 64), 60).convert("RGB").save(data / "train/alone/one.jpg")
    audit = check_data(str(data), options)
    found = audit.label_errors
    assert found is not None
    assert before is not None
    assert "train/alone/one.jpg" not in [suspect.file for suspect in found.suspects]
    assert (found.images, found.not_judged) == (72, 1)
    assert found.estimated == before.estimated
    assert "not judged, as the only image of its class: 1" in repr(audit)


def not_again(*_: object) -> None:
    raise AssertionError("the features of the check before were kept")


@pytest.mark.usefixtures("no_default_weights")
def test_without_a_network_the_labels_are_not_checked_and_the_result_says_so(
    rtl_here: Rtl, stripes: Path
) -> None:
    done = rtl_here("data", "check", stripes)
    assert "labels: not checked, which takes a network: --weights FILE or --run RUN" in done.stdout
    found = json.loads(rtl_here("data", "check", stripes, "--json").stdout)
    assert found["label_errors"] is None
    assert found["labels_not_checked"]


def test_the_default_weights_are_those_in_the_cache_of_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from toolchain.networks.imagenet import cached_weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert not has_default_weights()
    place = cached_weights("resnet18")
    assert place.is_relative_to(torch.hub.get_dir())
    place.parent.mkdir(parents=True)
    place.touch()
    assert has_default_weights()


def test_one_network_judges_the_labels(stripes: Path) -> None:
    with pytest.raises(SettingsError, match="give one of them"):
        check_data(str(stripes), CheckOptions(weights="a.pth", run="run"))


def test_pooled_features_are_the_means_of_the_stages(random_weights: Path, stripes: Path) -> None:
    import torch

    from toolchain.checking.backbone import open_backbone
    from toolchain.checking.pooled_features import USED
    from toolchain.networks.resnet import normalised
    from toolchain.networks.split import StagePooling

    dataset = read_dataset(stripes)
    opened = open_backbone(str(random_weights), "", dataset, SilentReporter())
    classifier = opened.classifier.eval()
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    network = classifier.network
    with torch.inference_mode():
        pooling = StagePooling(classifier).eval()
        found = pooling(pixels)[:, -sum(pooling.widths[-len(USED) :]) :]
        values = normalised(pixels, classifier.mean, classifier.std)
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"):
            values = network.get_submodule(name)(values)
        fourth = network.get_submodule("layer4")(values)
    wanted = torch.cat([values.mean(dim=(2, 3)), fourth.mean(dim=(2, 3))], dim=1)
    assert found.shape == (2, 768)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_check_of_the_files_loads_no_torch(stripes: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from toolchain.checking.check import check_data; "
        f"check_data({str(stripes)!r}); assert 'torch' not in sys.modules"
    )
    environment = {"TORCH_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
