"""Find the ResNet in the content of a weights file, under the names that other tools give it.

Tools wrap a state dict in dicts (`state_dict`, `model`) and prefix its names (`module.`, `model.`).
Where the network's tensors are found, the names become torchvision's, and each step is noted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from toolchain.errors import TrainingError
from toolchain.networks.resnet import State

MAX_DEPTH = 3
AVERAGED = ("ema", "averag", "swa")
"""In the name of a container or a prefix: an average of the weights, taken before the others."""
QUERY = "encoder_q."
"""Prefix of the encoder to keep, in checkpoints of MoCo."""
BOOKKEEPING = frozenset(["n_averaged", "mean", "std", "model.mean", "model.std"])
"""Tensors beside a network that are no weights; mean and std are those of rtl's own classifier."""
FOLDED_STEM = re.compile(r"conv1\.0\.weight$")

TORCHVISION_BLOCK = "layer1.0.conv1.weight"
SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""`nn.Sequential(*resnet.children())` numbers the layers; 2 and 3 have no weights."""
SEQUENTIAL_BLOCK = "4.0.conv1.weight"
TRANSFORMERS_BLOCK = "encoder.stages.0.layers.0.layer.0.convolution.weight"
TRANSFORMERS_STEM = re.compile(r"embedder\.embedder\.(convolution|normalization)\.(.+)")
TRANSFORMERS_LAYER = re.compile(
    r"encoder\.stages\.(\d)\.layers\.(\d+)\.(?:layer\.(\d)|(shortcut))"
    r"\.(convolution|normalization)\.(.+)"
)


@dataclass(frozen=True)
class FoundNetwork:
    """A ResNet found in a weights file."""

    state: State
    """Its tensors by torchvision's names, as they are stored; the head is among them."""
    notes: tuple[str, ...]
    """What was unwrapped, renamed and left out, a few words each."""


def find_network(content: Any, where: str) -> FoundNetwork:
    """Return the ResNet in the content of a weights file; `where` names the file in errors.

    Raises TrainingError where there is none, or several and no rule which to take.
    """
    found = [item for item in _states(content) if _roots(item[1])]
    if not found:
        raise _no_network(content, where)
    found.sort(key=lambda item: not _is_average(item[0]))
    chosen, state = found[0]
    others = [path for path, _ in found[1:]]
    if others and not _is_average(chosen) and not _is_plain(chosen):
        raise TrainingError(
            f"{where} holds several networks: {', '.join(repr(p) for p, _ in found)}",
            hint="save the one to start from in a file of its own",
        )
    notes = [f"unwrapped {chosen!r}"] if chosen else []
    notes += [f"not used: {', '.join(map(repr, others))}"] if others else []
    root = _chosen_root(state, where)
    notes += [f"prefix {root!r} removed"] if root not in ("", "network.") else []
    renamed, how = _torchvision_names(state, root)
    notes += [how] if how else []
    rest = sorted(n for n in state if not n.startswith(root) and n not in BOOKKEEPING)
    if rest:
        more = f" and {len(rest) - 3} more" if len(rest) > 3 else ""
        notes.append(f"left out, outside of the network: {', '.join(rest[:3])}{more}")
    return FoundNetwork(renamed, tuple(notes))


def _states(content: Any, path: str = "", depth: int = 0) -> list[tuple[str, State]]:
    """Return (where, tensors) of each dict in the content that has tensors by name."""
    if not isinstance(content, Mapping) or depth > MAX_DEPTH:
        return []
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    found = [(path, tensors)] if tensors else []
    for name, value in content.items():
        inner = f"{path}.{name}" if path else str(name)
        found += _states(value, inner, depth + 1)
    return found


def _roots(state: State) -> list[str]:
    """Return the prefixes under which the tensors of a ResNet stand."""
    roots = []
    for name in state:
        for block, stems in (
            (TORCHVISION_BLOCK, ("conv1.weight", "conv1.0.weight")),
            (SEQUENTIAL_BLOCK, ("0.weight",)),
            (TRANSFORMERS_BLOCK, ("embedder.embedder.convolution.weight",)),
        ):
            root = name.removesuffix(block)
            if root != name and any(f"{root}{stem}" in state for stem in stems):
                roots.append(root)
    return roots


def _chosen_root(state: State, where: str) -> str:
    roots = _roots(state)
    if len(roots) > 1:
        roots = [r for r in roots if _is_average(r)] or [r for r in roots if r.endswith(QUERY)]
    if len(roots) != 1:
        names = ", ".join(repr(root) for root in _roots(state))
        raise TrainingError(
            f"{where} holds several networks, named {names}",
            hint="save the one to start from in a file of its own",
        )
    return roots[0]


def _torchvision_names(state: State, root: str) -> tuple[State, str]:
    """Return (the tensors below a prefix by torchvision's names, a note of how they were named)."""
    inner = {n.removeprefix(root): t for n, t in state.items() if n.startswith(root)}
    if TORCHVISION_BLOCK in inner:
        return inner, ""
    if TRANSFORMERS_BLOCK in inner:
        return {_from_transformers(n): t for n, t in inner.items()}, "names of transformers mapped"
    return {_from_sequential(n): t for n, t in inner.items()}, "numbered layers mapped"


def _from_sequential(name: str) -> str:
    first, dot, rest = name.partition(".")
    return f"{SEQUENTIAL.get(first, 'fc' if first == '9' else first)}{dot}{rest}"


def _from_transformers(name: str) -> str:
    if stem := TRANSFORMERS_STEM.fullmatch(name):
        return f"{'conv1' if stem[1] == 'convolution' else 'bn1'}.{stem[2]}"
    layer = TRANSFORMERS_LAYER.fullmatch(name)
    if layer is None:
        return name
    stage, block, number, shortcut, kind, rest = layer.groups()
    is_convolution = kind == "convolution"
    if shortcut:
        part = f"downsample.{0 if is_convolution else 1}"
    else:
        part = f"{'conv' if is_convolution else 'bn'}{int(number) + 1}"
    return f"layer{int(stage) + 1}.{block}.{part}.{rest}"


def _is_average(name: str) -> bool:
    return any(word in name.lower() for word in AVERAGED)


def _is_plain(path: str) -> bool:
    """Return whether a container is the usual one for a model's weights."""
    return path.rpartition(".")[2] in ("", "state_dict", "model", "model_state_dict")


def _no_network(content: Any, where: str) -> TrainingError:
    """Return the error for content without a ResNet; it says what is there instead."""
    hint = "a state dict with the names of torchvision's or timm's ResNets is needed"
    states = _states(content)
    if not states:
        return TrainingError(f"{where} holds no state dict (names and tensors)", hint=hint)
    _, state = max(states, key=lambda item: len(item[1]))
    names = ", ".join(list(state)[:3])
    return TrainingError(
        f"{where} holds no ResNet: {len(state)} tensors, named {names}{', …' * (len(state) > 3)}",
        hint=hint,
    )
