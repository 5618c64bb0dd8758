"""Weights: read from files of any tool, loaded where they fit, refused where they don't."""

from __future__ import annotations

import argparse
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from toolchain.errors import TrainingError
from toolchain.files import file_sha256
from toolchain.networks.checkpoint_layout import find_network
from toolchain.networks.fitting import load_weights
from toolchain.networks.known_architectures import KNOWN, recognised
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.networks.weights import (
    load_classifier,
    read_weights,
    start_classifier,
    state_sha256,
)
from toolchain.progress import SilentReporter
from toolchain.runtime.card import Card, Preprocessing, Weights

State = dict[str, Tensor]


class Messages(SilentReporter):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def seven() -> State:
    """The state dict of a resnet18 for seven classes."""
    torch.manual_seed(7)
    return dict(build_network("resnet18", 7).state_dict())


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A resnet18 for three classes, whose weights any test may replace."""
    return build_network("resnet18", 3)


def started(
    path: Path, arch: str = "resnet18", classes: tuple[str, ...] = ("a", "b", "c")
) -> tuple[State, str]:
    """Return (the network's state, the message about the weights) of a start from a file."""
    messages = Messages()
    classifier, _ = start_classifier(arch, classes, str(path), dropout=0.0, progress=messages)
    return dict(classifier.network.state_dict()), " | ".join(messages.lines)


def refusal(path: Path, arch: str = "resnet18") -> str:
    """Return the message and the hint with which a file is refused."""
    with pytest.raises(TrainingError) as caught:
        started(path, arch)
    return f"{caught.value} [{caught.value.hint}]"


def loaded(content: Any, network: nn.Module) -> tuple[State, str]:
    """Return (the network's state, the notes) after loading the content of a weights file."""
    found = find_network(content, "weights.pth")
    notes = load_weights(
        network, found.state, "resnet18", "it", classes=("a", "b", "c"), known_classes=None
    )
    return dict(network.state_dict()), "; ".join((*found.notes, *notes))


def saved(content: Any, path: Path) -> Path:
    """Write what torch.save writes and return the path."""
    torch.save(content, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_other_classes_start_the_backbone_but_not_the_head(
    tmp_path: Path, suffix: str, seven: State
) -> None:
    path = tmp_path / f"seven{suffix}"
    save_file(seven, path) if suffix == ".safetensors" else torch.save(seven, path)
    messages = Messages()
    classifier, origin = start_classifier(
        "resnet18", ("a", "b", "c"), str(path), dropout=0.0, progress=messages
    )
    assert origin == f"file {path.name}"
    found = classifier.network.state_dict()
    torch.testing.assert_close(found["layer4.1.conv2.weight"], seven["layer4.1.conv2.weight"])
    assert found["fc.weight"].shape == (3, 512)
    assert "a new head in place of its own for 7 classes" in messages.lines[0]


def test_half_precision_weights_become_float32(shared: Path) -> None:
    state = read_weights(shared / "weights" / "resnet18-imagenet-partial.safetensors")
    assert state["conv1.weight"].dtype == torch.float32
    assert state["bn1.num_batches_tracked"].dtype == torch.int64


def with_prefix(prefix: str) -> Callable[[State], Any]:
    return lambda state: {f"{prefix}{name}": tensor for name, tensor in state.items()}


def as_sequential(state: State) -> Any:
    numbers = {"conv1": "0", "bn1": "1", **{f"layer{n}": str(n + 3) for n in range(1, 5)}}
    named = ((*name.split(".", 1), tensor) for name, tensor in state.items())
    return {f"backbone.{numbers[a]}.{b}": tensor for a, b, tensor in named if a in numbers}


def as_transformers(state: State) -> Any:
    kinds = {"conv": "convolution", "bn": "normalization", "0": "convolution", "1": "normalization"}
    renamed = {}
    for name, tensor in state.items():
        first, *middle, value = name.split(".")
        if first == "fc":
            renamed[f"classifier.1.{value}"] = tensor
        elif not middle:
            renamed[f"resnet.embedder.embedder.{kinds[first[:-1]]}.{value}"] = tensor
        else:
            block, part, *number = middle
            kind = kinds[number[0]] if number else kinds[part[:-1]]
            place = "shortcut" if number else f"layer.{int(part[-1]) - 1}"
            stage = f"resnet.encoder.stages.{int(first[-1]) - 1}.layers.{block}"
            renamed[f"{stage}.{place}.{kind}.{value}"] = tensor
    return renamed


WRAPPED: dict[str, tuple[Callable[[State], Any], str]] = {
    "DataParallel": (with_prefix("module."), "prefix 'module.' removed"),
    "torch.compile": (with_prefix("_orig_mod."), "prefix '_orig_mod.' removed"),
    "both": (with_prefix("module._orig_mod."), "prefix 'module._orig_mod.' removed"),
    "state_dict": (lambda s: {"state_dict": s, "epoch": 3}, "unwrapped 'state_dict'"),
    "model_state_dict": (
        lambda s: {"model_state_dict": OrderedDict(s), "optimizer_state_dict": {"state": {}}},
        "unwrapped 'model_state_dict'",
    ),
    "Lightning": (
        lambda s: {"state_dict": with_prefix("model.")(s), "pytorch-lightning_version": "2.4"},
        "unwrapped 'state_dict'; prefix 'model.' removed",
    ),
    "Lightning with a loss": (
        lambda s: {"state_dict": with_prefix("net.")(s) | {"loss.weight": torch.ones(3)}},
        "left out, outside of the network: loss.weight",
    ),
    "torchvision's references": (
        lambda s: {"model": s, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.5)},
        "unwrapped 'model'",
    ),
    "average": (
        lambda s: {
            "model": {n: torch.zeros_like(t) for n, t in s.items()},
            "model_ema": with_prefix("module.")(s) | {"n_averaged": torch.tensor(5)},
        },
        "unwrapped 'model_ema'; not used: 'model'; prefix 'module.' removed",
    ),
    "older than counters": (
        lambda s: {n: t for n, t in s.items() if "num_batches" not in n},
        "20 missing counters num_batches_tracked set to 0",
    ),
    "half": (lambda s: {n: t.half() for n, t in s.items()}, "float16 converted to float32"),
    "double": (lambda s: {n: t.double() for n, t in s.items()}, "float64 converted to float32"),
    "children in a Sequential": (as_sequential, "prefix 'backbone.' removed; numbered layers"),
    "transformers": (as_transformers, "names of transformers mapped"),
}


@pytest.mark.parametrize("tool", WRAPPED)
def test_a_file_of_any_tool_is_unwrapped_and_it_is_said(
    network: nn.Module, seven: State, tool: str
) -> None:
    wrap, said = WRAPPED[tool]
    found, message = loaded(wrap(seven), network)
    assert said in message
    for name in ("conv1.weight", "layer2.0.downsample.1.running_var", "layer4.1.bn2.weight"):
        torch.testing.assert_close(found[name], seven[name], atol=1e-3, rtol=1e-3)


def test_weights_of_another_architecture_are_refused_by_name(tmp_path: Path, seven: State) -> None:
    path = saved(seven, tmp_path / "r18.pth")
    message = refusal(path, "resnet50")
    assert "don't fit resnet50" in message
    assert "lacks layer1.0.bn3.bias and" in message
    assert "this looks like resnet18 [--arch resnet18]" in message


def test_a_deeper_network_is_refused_by_what_has_no_place(tmp_path: Path) -> None:
    path = saved(build_network("resnet34", 2).state_dict(), tmp_path / "r34.pth")
    message = refusal(path)
    assert "96 tensors have no place in resnet18" in message
    assert "this looks like resnet34 [--arch resnet34]" in message


@pytest.mark.parametrize("arch", KNOWN.values())
def test_every_architecture_is_recognised_by_its_shapes(arch: str) -> None:
    with torch.device("meta"):
        assert recognised(dict(build_network(arch, 2).state_dict())) == arch


MISFITS: dict[str, tuple[Callable[[State], Any], str]] = {
    "grey": (lambda s: s | {"conv1.weight": torch.ones(64, 1, 7, 7)}, "takes 1 channels"),
    "deep stem": (
        lambda s: {("conv1.0.weight" if n == "conv1.weight" else n): t for n, t in s.items()},
        "conv1.0.weight",
    ),
    "squeeze and excitation": (
        lambda s: s | {"layer1.0.se.fc1.weight": torch.ones(4, 64, 1, 1)},
        "1 tensors have no place in resnet18, such as layer1.0.se.fc1.weight",
    ),
    "folded": (
        lambda s: {n: t for n, t in s.items() if "bn" not in n} | {"conv1.bias": torch.ones(64)},
        "batch norms are folded",
    ),
    "no ResNet": (lambda s: {"features.0.weight": s["conv1.weight"]}, "holds no ResNet"),
    "head alone": (lambda s: {"fc.weight": s["fc.weight"]}, "holds no ResNet"),
    "two networks": (
        lambda s: with_prefix("student.")(s) | with_prefix("teacher.")(s),
        "several networks, named 'student.', 'teacher.'",
    ),
    "meta": (
        lambda s: {n: t.to("meta") for n, t in s.items()},
        "conv1.weight has a shape and no values",
    ),
    "not numbers": (lambda s: s | {"bn1.weight": s["bn1.weight"] / 0}, "values of bn1.weight are"),
    "NaN": (
        lambda s: s | {"layer3.1.conv2.weight": torch.full((256, 256, 3, 3), torch.nan)},
        "589,824 of the 589,824 values of layer3.1.conv2.weight are NaN",
    ),
    "zeros": (
        lambda s: s | {"layer2.0.conv1.weight": torch.zeros(128, 64, 3, 3)},
        "all values of layer2.0.conv1.weight are 0",
    ),
    "variance below 0": (
        lambda s: s | {"bn1.running_var": -s["bn1.running_var"]},
        "bn1.running_var has values below 0",
    ),
    "integers": (
        lambda s: s | {"conv1.weight": torch.ones(64, 3, 7, 7, dtype=torch.int8)},
        "conv1.weight is int8",
    ),
    "nothing": (lambda s: {}, "holds no state dict"),
    "a list": (lambda s: list(s.values()), "holds no state dict"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_what_does_not_fit_is_named(network: nn.Module, seven: State, kind: str) -> None:
    change, said = MISFITS[kind]
    with pytest.raises(TrainingError) as caught:
        loaded(change(seven), network)
    assert said in f"{caught.value} [{caught.value.hint}]"


def test_what_else_a_checkpoint_holds_is_passed_over(tmp_path: Path, seven: State) -> None:
    others = {"args": argparse.Namespace(lr=0.1), "best": np.float64(0.5), "epoch": 3}
    path = saved({"model": {f"module.{n}": t for n, t in seven.items()}, **others}, tmp_path / "a")
    found, message = started(path)
    assert torch.equal(found["bn1.weight"], seven["bn1.weight"])
    assert "unwrapped 'model'; prefix 'module.' removed" in message


class Planted:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def zipped(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "x")
    return path.read_bytes()


CONTENTS: dict[str, tuple[bytes, str]] = {
    "a.pth": (b"", "is empty"),
    "b.pth": (b"weights of our model\n", "is text, not weights"),
    "c.pth": (bytes(range(256)) * 20, "is not a weights file"),
    "d.safetensors": (b"no", "is text, not weights"),
    "e.safetensors": (b"\xff" * 64, "is not a weights file"),
    "f.pth": (b"\n<!DOCTYPE html><title>404</title>", "is a web page"),
    "g.safetensors": (b"version https://git-lfs.github.com/spec/v1\n", "[git lfs pull]"),
    "h.pth": (b"\x80\x04K\x01.", "is damaged, truncated"),
    "i.pth": (b"\x80\x02}q\x00(X", "is damaged, truncated"),
    "j.h5": (b"\x89HDF\r\n", "Keras"),
    "k.pth": (b"PK\x03\x04" + b"\0" * 99, "is damaged, truncated"),
    "l.onnx": (b"\x08\x08\x12\x07pytorch", "is an exported model"),
    "m.pth": (pickle.dumps([1]), "no weights file"),
    "n.pth.gz": (b"\x1f\x8b\x08", "unpack it first"),
    "o.safetensors": (b'\x10\0\0\0\0\0\0\0{"a":', "is damaged, truncated"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_files_that_are_not_weights_are_refused_in_words_of_ours(tmp_path: Path, name: str) -> None:
    content, said = CONTENTS[name]
    (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path / name)
    assert said in message
    assert name in message
    assert "weights_only" not in message


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    assert "no such weights file" in refusal(tmp_path / "gone.pth")
    assert f"{tmp_path} holds no weights file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.pth")
    assert "is a pipe or device" in refusal(tmp_path / "pipe.pth")
    url = "https://example.com/resnet18.pth"
    assert f"{url}: a URL, not a path" in refusal(Path(url))
    (tmp_path / "z.pth").write_bytes(zipped(tmp_path / "z", "a.txt"))
    assert "is a zip archive, not weights" in refusal(tmp_path / "z.pth")


def test_a_truncated_file_is_called_damaged(tmp_path: Path, seven: State) -> None:
    save_file(seven, tmp_path / "a.safetensors")
    saved(seven, tmp_path / "b.pth")
    for name in ("a.safetensors", "b.pth"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-5000])
        assert "is damaged, truncated" in refusal(path)


@pytest.mark.parametrize("old_format", [False, True])
def test_a_whole_model_is_refused_without_running_its_code(
    tmp_path: Path, old_format: bool
) -> None:
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=not old_format)
    message = refusal(path)
    assert "holds a pickled object (torch.nn.modules.linear.Linear)" in message
    assert "torch.save(model.state_dict(), FILE)" in message
    assert "weights_only" not in message


@pytest.mark.parametrize("old_format", [False, True])
def test_a_file_that_would_run_code_is_refused(
    tmp_path: Path, seven: State, old_format: bool
) -> None:
    path, made = tmp_path / "model.pth", tmp_path / "made"
    content = {"state_dict": seven, "extra": Planted(made)}
    torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    assert "would run code" in refusal(path)
    assert not made.exists()


@pytest.fixture(scope="module")
def run_of_seven(tmp_path_factory: pytest.TempPathFactory, seven: State) -> Path:
    """The two files of a run that others start from; its classes are c0 to c6."""
    run = tmp_path_factory.mktemp("runs") / "first"
    run.mkdir()
    network = build_network("resnet18", 7)
    network.load_state_dict(seven)
    state = Classifier(network, IMAGENET_NORMALISATION).state_dict()
    save_file(state, run / "model.safetensors")
    card = Card(
        classes=tuple(f"c{n}" for n in range(7)),
        preprocessing=Preprocessing(),
        normalisation=IMAGENET_NORMALISATION,
        architecture="resnet18",
        weights=Weights("random", file_sha256(run / "model.safetensors")),
        settings_sha256="",
        data_sha256="",
        versions={},
        created="",
    )
    (run / "card.json").write_bytes(msgspec.json.encode(card))
    return run


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_a_run_starts_another_with_its_head(run_of_seven: Path, seven: State, name: str) -> None:
    classes = tuple(f"c{n}" for n in range(7))
    found, message = started(run_of_seven / name, classes=classes)
    assert all(torch.equal(found[key], seven[key]) for key in seven)
    assert "the head of its 7 classes too" in message


def test_new_classes_are_added_to_those_that_a_run_knows(run_of_seven: Path, seven: State) -> None:
    found, message = started(run_of_seven, classes=("c5", "new", "c1"))
    assert torch.equal(found["fc.weight"][[0, 2]], seven["fc.weight"][[5, 1]])
    assert torch.equal(found["fc.bias"][[0, 2]], seven["fc.bias"][[5, 1]])
    assert "the head of 2 classes that it knows; new: new; left out: c0, c2, c3, c4, c6" in message


def test_a_head_with_dropout_takes_the_known_rows(run_of_seven: Path, seven: State) -> None:
    classifier, origin = start_classifier(
        "resnet18", ("c0", "c6"), str(run_of_seven), dropout=0.5, progress=SilentReporter()
    )
    weight = classifier.network.state_dict()["fc.1.weight"]
    assert torch.equal(weight, seven["fc.weight"][[0, 6]])
    assert origin == "run first"


def test_the_head_of_other_weights_than_the_card_is_not_trusted(
    run_of_seven: Path, seven: State, tmp_path: Path
) -> None:
    (tmp_path / "card.json").write_bytes((run_of_seven / "card.json").read_bytes())
    save_file({**seven, "fc.bias": seven["fc.bias"] + 1}, tmp_path / "model.safetensors")
    _, message = started(tmp_path, classes=("c0", "c1"))
    assert "a new head in place of its own" in message
    assert "card.json beside it is of other weights and is not used" in message


def test_the_digest_depends_on_the_values_alone(seven: State) -> None:
    same = {name: tensor.clone() for name, tensor in reversed(seven.items())}
    assert state_sha256(seven) == state_sha256(same)
    same["fc.bias"] = same["fc.bias"] + 1e-3
    assert state_sha256(seven) != state_sha256(same)


def test_a_trained_network_is_loaded_without_random_numbers(tmp_path: Path, seven: State) -> None:
    mean, std = (torch.full((1, 3, 1, 1), value) for value in (120.0, 60.0))
    state = {f"network.{name}": tensor for name, tensor in seven.items()}
    save_file({**state, "mean": mean, "std": std}, tmp_path / "model.safetensors")
    before = torch.get_rng_state()
    found = load_classifier("resnet18", 7, tmp_path / "model.safetensors", IMAGENET_NORMALISATION)
    assert torch.equal(torch.get_rng_state(), before)
    assert not found.training
    assert all(p.requires_grad and p.device.type == "cpu" for p in found.parameters())
    loaded_state = found.state_dict()
    assert {name for name, t in state.items() if not torch.equal(loaded_state[name], t)} == set()
    assert torch.equal(loaded_state["mean"], mean)
