"""What in a layer is wrong: which of the weights that a file holds are not the run's.

An exporter folds a BatchNorm layer into the convolution before it: weight · s and bias - mean · s,
with s = BatchNorm's weight / sqrt(its variance + eps). Which of the two layers was changed still
shows in the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.layer_names import LOGITS, called_module
from toolchain.verification.layers.trained import LayerOutput, Weights, convolution_of

CLOSE = 1e-5
"""Weights that were folded in float32 are about 1e-7 apart, relative to what they were made of."""
NOTHING = 1e-7
"""Relative to the tensor's largest value; what is smaller changes no output."""

Doubles = NDArray[np.float64]


def diff_weights(network: Any, found: LayerOutput) -> str | None:
    """Say which weights of a layer are not the trained network's; None where they are.

    None too for a layer without weights, and for weights of another shape, as those of an operator
    that another exporter chose.
    """
    name = last_linear(network) if found.name == LOGITS else called_module(found.name)
    if not found.weights or name is None:
        return None
    convolution = convolution_of(network, name)
    if convolution is not None and "running_var" not in found.weights:
        return _diff_folded_pair(network, convolution, name, found.weights)
    return _diff_single(name, _tensors(network.get_submodule(name)), found.weights)


def last_linear(network: Any) -> str | None:
    """Name the layer that gives the logits."""
    linear = [n for n, module in network.named_modules() if type(module).__name__ == "Linear"]
    return linear[-1] if linear else None


def _tensors(module: Any) -> dict[str, Doubles]:
    """Return what a module holds, but for counters."""
    return {
        key: tensor.detach().cpu().double().numpy()
        for key, tensor in module.state_dict().items()
        if tensor.is_floating_point()
    }


def _diff_single(name: str, expected: Mapping[str, Doubles], weights: Weights) -> str | None:
    """Compare a layer's weights one by one."""
    for key, reference in expected.items():
        if key not in weights:
            if reference.any():
                return f"{name}.{key} is missing"
            continue
        own = weights[key].astype(np.float64)
        if own.shape == reference.shape and not _close(own, reference, np.abs(reference)):
            return _difference(f"{name}.{key}", own, reference)
    return None


def _diff_folded_pair(
    network: Any, convolution: str, normalisation: str, weights: Weights
) -> str | None:
    """Tell a convolution's weight from the BatchNorm layer that is folded into it."""
    bn = _tensors(network.get_submodule(normalisation))
    kernel = _tensors(network.get_submodule(convolution))["weight"]
    by = bn["weight"] / np.sqrt(bn["running_var"] + network.get_submodule(normalisation).eps)
    weight, bias = kernel * by[:, None, None, None], bn["bias"] - bn["running_mean"] * by
    own = weights["weight"].astype(np.float64)
    own_bias = weights.get("bias", np.zeros(len(bias))).astype(np.float64)
    if own.shape != weight.shape:
        return None
    size = np.abs(bn["bias"]) + np.abs(bn["running_mean"] * by)
    same_bias = _close(own_bias, bias, size)
    if _close(own, weight, np.abs(weight)):
        if same_bias:
            return None
        if not own_bias.any():
            return f"the bias is missing that {normalisation} leaves in {convolution}"
        return _difference(f"the bias or mean of {normalisation}", own_bias, bias)
    ratio = _channel_ratio(own, weight)
    if ratio is None:
        return _difference(f"{convolution}.weight", own, weight)
    one = np.ones_like(ratio)
    scaled = f"in {int(_changed(ratio, one, one).sum())} of {len(ratio)} channels"
    if same_bias and not _close(bn["bias"] - bn["running_mean"] * by * ratio, bias, size):
        return f"{convolution}.weight is scaled {scaled}"
    # BatchNorm's weight and variance scale alike, and so does a kernel where the mean is 0.
    return f"the variance or weight of {normalisation} differs {scaled}"


def _close(own: NDArray[Any], reference: Doubles, size: Doubles) -> bool:
    return not _changed(own, reference, size).any()


def _changed(own: NDArray[Any], reference: Doubles, size: Doubles) -> NDArray[np.bool_]:
    """Say which values differ by more than arithmetic explains; `size` is what they are made of."""
    floor = NOTHING * float(np.abs(reference).max(initial=0.0))
    return np.asarray(~(np.abs(own - reference) <= CLOSE * size + floor))


def _difference(what: str, own: Doubles, reference: Doubles) -> str:
    """Say how many values differ, and where the most."""
    if _sorted_rows(own) == _sorted_rows(reference):
        return f"{what} has its rows in another order"
    changed = _changed(own, reference, np.abs(reference))
    place = np.unravel_index(int(np.abs(own - reference).argmax()), own.shape)
    return (
        f"{what} differs in {int(changed.sum())} of {own.size} values, the most in "
        f"{list(map(int, place))}: {own[place]:.4g} instead of {reference[place]:.4g}"
    )


def _sorted_rows(values: Doubles) -> list[bytes]:
    return sorted(row.tobytes() for row in values.astype(np.float32))


def _channel_ratio(own: Doubles, reference: Doubles) -> Doubles | None:
    """Return by how much each output channel is scaled; None where a channel is not scaled evenly."""
    flat, base = (values.reshape(len(values), -1) for values in (own, reference))
    squares = (base * base).sum(axis=1)
    ratio = np.where(squares > 0, (flat * base).sum(axis=1) / np.where(squares > 0, squares, 1), 1)
    scaled = base * ratio[:, None]
    return ratio if _close(flat, scaled, np.abs(scaled)) else None
