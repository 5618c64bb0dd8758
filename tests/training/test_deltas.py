"""Strategies that train a small part of each layer, and the delta file that they leave."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import toolchain as rtl
from tests.conftest import Rtl
from tests.training.sandbox import COMMON, EACH_EPOCH, Fault, Sandbox, at_call, kill, outcome
from tests.training.test_strategies import strategy, trained_names
from toolchain.cli.next_steps import example_image
from toolchain.networks.low_rank import LowRankConv2d, add_low_rank, merged
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.runs.delta import delta_bytes, portable_settings, read_delta
from toolchain.runs.delta_run import DeltaRun
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import ARCHITECTURES, FinetuneSettings
from toolchain.runs.settings_file import settings_toml
from toolchain.runs.stored_settings import decode_settings, stored_settings
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import Metrics
from toolchain.training.strategies import Stage, enter_stage, low_rank_layers

STEP = "toolchain.training.loop:Stepper.update"


def adapted(arch: str, rank: int = 4, frozen: int = 0) -> Classifier:
    """Return a classifier with low-rank differences that are not zero, in eval mode."""
    torch.manual_seed(0)
    classifier = Classifier(build_network(arch, 3), IMAGENET_NORMALISATION)
    stage = Stage(1, 1, frozen, "low-rank")
    add_low_rank(classifier.network, low_rank_layers(classifier.network, stage), rank, seed=1)
    for name, parameter in classifier.named_parameters():
        if name.endswith("low_rank.up"):
            torch.nn.init.normal_(parameter, std=0.002)
    return classifier.eval()


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2"])
def test_merging_gives_the_logits_of_training(arch: str) -> None:
    classifier = adapted(arch)
    plain = Classifier(build_network(arch, 3), IMAGENET_NORMALISATION).eval()
    plain.load_state_dict(merged(classifier.state_dict()))
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        before, after = classifier(pixels), plain(pixels)
    assert before.std() > 0
    assert torch.equal(before, after)


def test_every_architecture_takes_low_rank_differences() -> None:
    for arch in ARCHITECTURES:
        network = build_network_on_meta(arch)
        layers = low_rank_layers(network, Stage(1, 1, 0, "low-rank"))
        assert all(isinstance(network.get_submodule(name), torch.nn.Conv2d) for name in layers)
        assert len(layers) > 18


def build_network_on_meta(arch: str) -> torch.nn.Module:
    with torch.device("meta"):
        return build_network(arch, 3)


def test_lora_begins_as_the_frozen_network() -> None:
    torch.manual_seed(0)
    classifier = Classifier(build_network("resnet18", 3), IMAGENET_NORMALISATION).eval()
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    before = classifier(pixels)
    stage = Stage(1, 1, 0, "low-rank")
    add_low_rank(classifier.network, low_rank_layers(classifier.network, stage), 8, seed=0)
    assert isinstance(classifier.network.get_submodule("layer1.0.conv1"), LowRankConv2d)
    assert torch.equal(before, classifier(pixels))


def test_lora_trains_the_differences_from_the_named_layer_on_and_the_classifier() -> None:
    classifier = adapted("resnet18", frozen=13)
    counts = enter_stage(classifier.network, Stage(1, 1, 13, "low-rank"))
    names = trained_names(classifier)
    assert {name.split(".")[0] for name in names} == {"layer4", "fc"}
    assert all("low_rank" in name for name in names if name.startswith("layer4"))
    assert "layer4.0.downsample.0.low_rank.up" in names
    assert (counts.layers, counts.all_layers) == (5, 18)


def test_bn_trains_norms_from_the_named_layer_on_and_the_classifier() -> None:
    classifier, counts = strategy("resnet18", strategy="bn", freeze_until="layer3")
    names = trained_names(classifier)
    assert {name.split(".")[0] for name in names} == {"layer3", "layer4", "fc"}
    assert all(".bn" in n or "downsample.1" in n for n in names if n.startswith("layer"))
    assert counts.parameters == sum(
        p.numel() for n, p in classifier.network.named_parameters() if n in names
    )


@pytest.fixture(scope="module")
def bases(stripes: Path, random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a head run, a lora run and a bn run from the same weights.

    The classifier of the lora run reads all stages, those of the others the last one.
    """
    folder = tmp_path_factory.mktemp("deltas")
    for name in ("head", "lora", "bn"):
        head_stages = "all" if name == "lora" else "last"
        train(stripes, folder / name, name, weights=str(random_weights), head_stages=head_stages)
    return folder


def train(stripes: Path, output: Path, name: str, **given: Any) -> None:
    rtl.finetune(
        stripes,
        strategy=name,
        size=32,
        epochs=2,
        augment="none",
        lr_backbone=0.01,
        output=output,
        workers=0,
        **given,
    )


@pytest.mark.parametrize("name", ["lora", "bn"])
def test_a_delta_on_another_run_of_the_same_weights_is_the_trained_model(
    name: str, bases: Path, rtl_here: Rtl, tmp_path: Path
) -> None:
    delta = shutil.copy(bases / name / "delta.safetensors", tmp_path / "task.safetensors")
    done = rtl_here("export", bases / "head", "--delta", delta, "--format", "pt2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "export" / "task" / "model.pt2").is_file()
    assert DeltaRun.of(bases / "head", bases / name / "delta.safetensors").exports == (
        bases / name / "export"
    )
    made, trained = DeltaRun.of(bases / "head", delta), TrainedRun.open(bases / name)
    assert made.card.weights == trained.card.weights
    assert made.card.head_stages == ("all" if name == "lora" else "last")
    own = trained.classifier.state_dict()
    assert {n: t.numpy().tobytes() for n, t in made.classifier.state_dict().items()} == {
        n: t.numpy().tobytes() for n, t in own.items()
    }
    changed = [
        n
        for n, t in load_file(bases / "head" / "model.safetensors").items()
        if not np.array_equal(t.numpy(), own[n].numpy())
    ]
    assert any(n.startswith("network.layer4") for n in changed)
    assert not any(n.startswith("network.layer3") for n in changed)
    assert Path(delta).stat().st_size < 1_000_000


def test_what_was_measured_of_its_run_is_in_the_card_of_the_export(
    bases: Path, tmp_path: Path
) -> None:
    run = RunFolder(shutil.copytree(bases / "bn", tmp_path / "bn"))
    assert DeltaRun.of(bases / "head", run.delta).card.metrics is None
    card = run.read_card()
    found = Metrics("test", 7, 0.5, (0.2, 0.8), 0.5)
    run.write_card(msgspec.structs.replace(card, metrics=found))
    assert DeltaRun.of(bases / "head", run.delta).card.metrics == found
    weights = msgspec.structs.replace(card.weights, sha256="0" * 64)  # another model's folder
    run.write_card(msgspec.structs.replace(card, metrics=found, weights=weights))
    assert DeltaRun.of(bases / "head", run.delta).card.metrics is None


def test_a_delta_in_the_folder_of_another_run_is_tried_on_an_image_of_the_base_run(
    bases: Path, stripes: Path, tmp_path: Path
) -> None:
    other = RunFolder(shutil.copytree(bases / "head", tmp_path / "other"))
    shutil.copy(bases / "bn" / "delta.safetensors", other.delta)
    photos = Path(shutil.copytree(stripes / "val", tmp_path / "photos"))
    settings = msgspec.structs.replace(stored_settings(other.settings), data=str(photos))
    other.settings.write_text(settings_toml(settings))
    image = example_image(bases / "head", None, other.delta)
    assert stripes in Path(image).parents
    own = RunFolder(shutil.copytree(bases / "bn", tmp_path / "bn"))
    shutil.copy(other.settings, own.settings)
    image = example_image(bases / "head", None, own.delta)
    assert photos in Path(image).parents


def test_a_delta_says_nothing_of_the_machine_that_made_it(
    bases: Path, stripes: Path, random_weights: Path
) -> None:
    delta = RunFolder(bases / "lora").delta
    assert str(stripes.parent).encode() not in delta.read_bytes()
    assert str(Path.home()).encode() not in delta.read_bytes()
    settings = decode_settings(read_delta(delta).record.settings)
    assert (settings.data, settings.weights) == (stripes.name, random_weights.name)
    own = DeltaRun.of(bases / "head", delta).settings  # where it lies in its run, that one's
    assert own == TrainedRun.open(bases / "lora").settings


def test_settings_to_hand_on_have_names_for_paths() -> None:
    settings = FinetuneSettings(data="/", target="/mnt/caf\udce9", exclude="../a/list.csv")
    read = decode_settings(portable_settings(settings))
    assert (read.data, read.target, read.exclude) == ("data", "caf\\xe9", "list.csv")
    assert read.weights == settings.weights == "imagenet"


def other_stripes(stripes: Path, folder: Path) -> Path:
    """Return a copy of the data in which one training image is missing."""
    copy = Path(shutil.copytree(stripes, folder / stripes.name))
    next(path for path in sorted((copy / "train").rglob("*")) if path.is_file()).unlink()
    return copy


def test_a_delta_of_other_images_than_its_base_asks_where_they_are(
    bases: Path, stripes: Path, random_weights: Path, rtl_here: Rtl, tmp_path: Path
) -> None:
    other = other_stripes(stripes, tmp_path)  # called as the data, in the folder of the command
    (tmp_path / "apart").mkdir()
    train(other, tmp_path / "bn", "bn", weights=str(random_weights))
    delta = shutil.copy(tmp_path / "bn" / "delta.safetensors", tmp_path / "apart")
    words = ["export", bases / "head", "--delta", delta, "--format", "pt2"]
    done = rtl_here(*words)
    assert done.returncode == 3, done.stderr
    assert f"was trained on '{stripes.name}', other images than those of" in done.stderr
    assert "hint: say where with --data" in done.stderr
    assert not (tmp_path / "apart" / "export").exists()
    done = rtl_here(*words, "--data", other)
    assert done.returncode == 0, done.stderr
    beside = RunFolder(tmp_path / "bn").delta
    assert DeltaRun.of(bases / "head", beside).dataset.root == other


def test_a_delta_of_an_older_rtl_says_where_its_images_are(
    bases: Path, stripes: Path, tmp_path: Path
) -> None:
    found = DeltaRun.of(bases / "head", bases / "bn" / "delta.safetensors")
    record = msgspec.structs.replace(
        found.delta.record, settings=RunFolder(bases / "bn").settings.read_text()
    )
    card = msgspec.structs.replace(found.delta.card, data_sha256="0" * 64)
    delta = tmp_path / "delta.safetensors"
    delta.write_bytes(
        delta_bytes(found.delta.tensors, frozenset(found.delta.tensors), record, card)
    )
    (tmp_path / "excluded.csv").write_text("not of this delta")
    assert DeltaRun.of(bases / "head", delta).dataset.root == stripes


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("delta.safetensors", ""),
        ("task v1.2.safetensors", "task v1.2"),
        ("task.v2", "task.v2"),
        ("model.onnx.safetensors", "model.onnx.safetensors"),
        ("...safetensors", "...safetensors"),
        ("..safetensors", "..safetensors"),
        (".safetensors", ".safetensors"),
    ],
)
def test_exports_of_a_delta_stay_in_a_folder_of_its_own(
    name: str, folder: str, tmp_path: Path
) -> None:
    delta: Any = SimpleNamespace(path=tmp_path / name)
    nothing: Any = None
    run = DeltaRun(
        folder=RunFolder(tmp_path),
        card=nothing,
        data=None,
        delta=delta,
        trained=nothing,
        base=nothing,
        in_its_run=False,
    )
    assert run.exports == tmp_path / "export" / folder


def test_exports_of_a_delta_in_the_folder_of_another_run_leave_those_of_that_run_alone(
    bases: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(bases / "head", tmp_path / "other"))
    delta = Path(shutil.copy(bases / "bn" / "delta.safetensors", other))
    assert DeltaRun.of(bases / "head", delta).exports == other / "export" / "delta"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("base", "is not a difference to the weights of"),
        ("model", "is no delta"),
        ("missing", "no such file"),
        ("folder", "is a folder, and a delta is a file"),
        ("cut", "is no delta"),
        ("record", "is damaged"),
    ],
)
def test_what_is_no_delta_of_this_run_is_refused_in_one_line(
    wrong: str, message: str, bases: Path, rtl_here: Rtl, tmp_path: Path
) -> None:
    base, delta = bases / "head", tmp_path / "delta.safetensors"
    content = (bases / "lora" / "delta.safetensors").read_bytes()
    if wrong == "base":
        base = tmp_path / "base"
        shutil.copytree(bases / "lora", base)
        delta.write_bytes((bases / "bn" / "delta.safetensors").read_bytes())
    elif wrong == "model":
        shutil.copy(bases / "head" / "model.safetensors", delta)
    elif wrong == "folder":
        delta = bases / "lora"
    elif wrong == "cut":
        delta.write_bytes(content[:2000])
    elif wrong == "record":
        save_file({"a": torch.zeros(1)}, delta, metadata={"rtl": "{}", "card": "{}"})
    done = rtl_here("export", base, "--delta", delta)
    assert done.returncode == 3, done.stderr
    assert message in done.stderr
    assert (f"hint: --delta {delta}/delta.safetensors" in done.stderr) == (wrong == "folder")
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("name", ["lora", "bn"])
def test_a_delta_is_no_start_of_a_training(
    name: str, bases: Path, rtl_here: Rtl, stripes: Path, tmp_path: Path
) -> None:
    done = rtl_here("finetune", stripes, "--weights", bases / name / "delta.safetensors")
    assert done.returncode == 11, done.stderr
    assert "delta.safetensors is a delta" in done.stderr
    assert "--weights RUN" in done.stderr
    assert f"rtl export BASE_RUN --delta {bases / name / 'delta.safetensors'}" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["lora", "bn"])
def test_a_killed_run_goes_on_to_the_same_delta(name: str, sandbox: Sandbox, stripes: Path) -> None:
    words = [*COMMON, "--strategy", name, "--augment", "none", "--workers", "0"]
    words += ["--head-stages", "all"] if name == "lora" else []
    faults: list[Fault] = [EACH_EPOCH, partial(at_call, STEP, 8, kill)]
    assert sandbox.finetune(stripes, *words, faults=faults, output=name).status == -9
    assert sandbox.resume(name).status == 0
    assert outcome(sandbox.folder / name) == sandbox.never_stopped(stripes, *words)
    assert (sandbox.folder / name / "delta.safetensors").is_file()
