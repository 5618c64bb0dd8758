"""Load a ResNet's tensors into a network: the whole backbone or an error, and what fits of a head.

No tensor is left out without a word: one that has no place in the network is an error, since the
file is then of another architecture. Only a head for other classes is replaced, which is noted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from toolchain.display import counted
from toolchain.errors import TrainingError
from toolchain.networks.known_architectures import description, recognised
from toolchain.networks.resnet import State

HEADS = ("fc.", "head.", "heads.", "classifier.", "last_linear.")
"""Beginnings of the names that a head has in torchvision, timm and others."""
TRACKED = ".num_batches_tracked"
CONVOLUTION_AXES = 4


def load_weights(
    network: nn.Module,
    state: State,
    arch: str,
    origin: str,
    *,
    classes: Sequence[str],
    known_classes: Sequence[str] | None,
) -> tuple[str, ...]:
    """Load a state dict with torchvision's names into a network for `classes`; return notes.

    `known_classes` are those of the head in the state dict, None where they are not known: the
    rows of classes with the same name are then kept. Raises TrainingError, which calls the file
    `origin`, where the backbone does not fit or has values that can't be used.
    """
    own = {name: t for name, t in network.state_dict().items() if not name.startswith("fc.")}
    backbone = {name: t for name, t in state.items() if not name.startswith(HEADS)}
    _require_fit(backbone, own, arch, origin)
    notes = []
    counters = [name for name in own if name not in backbone]
    if counters:
        notes.append(f"{len(counters)} missing counters num_batches_tracked set to 0")
    loaded, types = {}, set()
    for name, tensor in backbone.items():
        loaded[name], stored = usable(tensor, own[name], name, origin)
        types |= {stored} if stored else set()
    if types:
        notes.append(f"{', '.join(sorted(types))} converted to float32")
    network.load_state_dict(loaded, strict=False)
    head = {name: tensor for name, tensor in state.items() if name.startswith(HEADS)}
    return (*notes, _load_head(network, head, origin, classes, known_classes))


def usable(tensor: Tensor, own: Tensor, name: str, origin: str) -> tuple[Tensor, str]:
    """Return (the tensor in the type that the network has, the name of another type it had).

    Raises TrainingError for integers in place of weights, and for values that are no numbers.
    """
    if tensor.is_meta:
        raise TrainingError(
            f"{origin}: {name} has a shape and no values (torch's device meta)",
            hint="the file was written before its weights were loaded; write it again",
        )
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise TrainingError(f"{origin}: {name} is quantised or sparse; weights are plain numbers")
    if not own.is_floating_point():
        return tensor.to(own.dtype), ""
    stored = str(tensor.dtype).removeprefix("torch.")
    if not tensor.is_floating_point():
        raise TrainingError(
            f"{origin}: {name} is {stored}; weights are floating-point numbers",
            hint="give the weights from before they were quantised",
        )
    converted = tensor.detach().to(own.dtype)
    _require_finite(converted, name, origin)
    if converted.ndim == CONVOLUTION_AXES and not bool(converted.any()):
        raise TrainingError(
            f"{origin}: all values of {name} are 0, so no image would differ from another",
            hint="the file was made without its weights, or cut; take another",
        )
    if name.endswith("running_var") and bool((converted < 0).any()):
        raise TrainingError(f"{origin}: {name} has values below 0, which no variance has")
    return converted, "" if tensor.dtype == own.dtype else stored


def _require_finite(tensor: Tensor, name: str, origin: str) -> None:
    wrong = tensor.numel() - int(torch.isfinite(tensor).sum())
    if wrong:
        kind = "NaN" if bool(tensor.isnan().any()) else "infinite"
        raise TrainingError(
            f"{origin}: {wrong:,} of the {tensor.numel():,} values of {name} are {kind}",
            hint="the file is damaged, or was written by a training that had failed; take another",
        )


def _require_fit(backbone: State, own: State, arch: str, origin: str) -> None:
    """Raise TrainingError unless the tensors are those of the network, in names and shapes."""
    extra = [name for name in backbone if name not in own]
    missing = sorted(n for n in own if n not in backbone and not n.endswith(TRACKED))
    wrong = [n for n in sorted(own) if n in backbone and backbone[n].shape != own[n].shape]
    if not extra and not missing and not wrong:
        return
    problems = []
    if extra:
        problems.append(f"{len(extra)} tensors have no place in {arch}, such as {extra[0]}")
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        problems.append(f"lacks {missing[0]}{more}")
    if wrong:
        shapes = " instead of ".join(
            "×".join(map(str, tensors[wrong[0]].shape)) or "a number" for tensors in (backbone, own)
        )
        more = f" and {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
        problems.append(f"{wrong[0]} has the shape {shapes}{more}")
    seen = description(backbone)
    like = f"; this looks like {seen}" if seen and seen != arch else ""
    raise TrainingError(
        f"the weights ({origin}) don't fit {arch}: {'; '.join(problems)}{like}",
        hint=_misfit_hint(backbone, extra, arch),
    )


def _misfit_hint(backbone: State, extra: list[str], arch: str) -> str:
    """Return what to do about weights that don't fit."""
    like = recognised(backbone)
    if like and like != arch:
        return f"--arch {like}"
    if "conv1.0.weight" in backbone:
        return (
            "its stem is of three convolutions, as of timm's …d; rtl trains torchvision's ResNets"
        )
    if "conv1.bias" in extra and "bn1.weight" not in backbone:
        return "its batch norms are folded into the convolutions; give the weights from before"
    stem = backbone.get("conv1.weight")
    if stem is not None and stem.ndim == 4 and stem.shape[1] != 3:
        return f"its first layer takes {stem.shape[1]} channels; rtl's images have 3"
    return "--arch must name the network that the weights were made with"


def _load_head(
    network: nn.Module,
    head: State,
    origin: str,
    classes: Sequence[str],
    known_classes: Sequence[str] | None,
) -> str:
    """Copy the rows of the classes that the old head knew; return a note of what was done."""
    weight = next((t for n, t in head.items() if n.endswith("weight") and t.ndim == 2), None)
    bias = next((t for n, t in head.items() if n.endswith("bias") and t.ndim == 1), None)
    linear = next(m for m in network.get_submodule("fc").modules() if isinstance(m, nn.Linear))
    if weight is None or bias is None:
        return "a new head"
    count = len(known_classes) if known_classes is not None else -1
    if weight.shape[0] == count and weight.shape[1] != linear.in_features:
        return f"a new head: its own for {count} classes reads other stages (--head-stages)"
    if weight.shape != (count, linear.in_features) or bias.shape != (count,):
        return f"a new head in place of its own for {len(weight)} classes"
    assert known_classes is not None
    rows = {name: row for row, name in enumerate(known_classes)}
    kept = [name for name in classes if name in rows]
    if not kept:
        return f"a new head: none of its {count} classes is among yours"
    with torch.no_grad():
        for index, name in enumerate(classes):
            if name in rows:
                linear.weight[index] = usable(weight, linear.weight, "fc.weight", origin)[0][
                    rows[name]
                ]
                linear.bias[index] = usable(bias, linear.bias, "fc.bias", origin)[0][rows[name]]
    return _head_note(classes, known_classes, kept)


def _head_note(classes: Sequence[str], known: Sequence[str], kept: Sequence[str]) -> str:
    new = [name for name in classes if name not in kept]
    gone = [name for name in known if name not in kept]
    if not new and not gone:
        return f"the head of its {len(known)} classes too"
    parts = [f"the head of {counted(len(kept), 'class', 'classes')} that it knows"]
    parts += [f"new: {_some(new)}"] if new else []
    parts += [f"left out: {_some(gone)}"] if gone else []
    return "; ".join(parts)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
