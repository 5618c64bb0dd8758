"""Find which of the weights that a file holds in a layer are not the run's.

An exporter folds a BatchNorm layer into the convolution before it. The convolution's weight becomes
weight · s and its bias becomes bias - mean · s, with s = BatchNorm's weight / sqrt(its variance +
eps). Which of the two layers was changed can still be found from the folded numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.layer_names import called_module
from toolchain.runtime.card import LOGITS
from toolchain.verification.layers.outputs import LayerOutput, Weights
from toolchain.verification.layers.trained import convolution_before, last_linear

FOLDING_ERROR = 1e-5
"""Allowed relative difference: weights that were folded in float32 are about 1e-7 apart."""
NEGLIGIBLE = 1e-7
"""Relative to the tensor's largest value; a smaller difference changes no output."""

Doubles = NDArray[np.float64]


def diff_weights(network: Any, layer: LayerOutput) -> str | None:
    """Describe which weights of a layer are not the trained network's; None where all are.

    None too for a layer without weights, and for weights of another shape, as those of an operator
    that another exporter chose.
    """
    name = last_linear(network) if layer.name == LOGITS else called_module(layer.name)
    if not layer.weights or name is None:
        return None
    convolution = convolution_before(network, name)
    if convolution is not None and "running_var" not in layer.weights:
        return _diff_folded_pair(network, convolution, name, layer.weights)
    return _diff_single(name, _tensors(network.get_submodule(name)), layer.weights)


def folded_weights(network: Any) -> list[tuple[str, Doubles, Doubles, Doubles]]:
    """Return (layer, weight, bias, magnitude of the bias) of all layers with weights, folded.

    The magnitude is the size of the terms that the bias was computed from, which may cancel.
    """
    names = {n: type(m).__name__ for n, m in network.named_modules() if not list(m.children())}
    norm_of = {
        convolution_before(network, name): name
        for name, kind in names.items()
        if kind == "BatchNorm2d"
    }
    folded = []
    for name, kind in names.items():
        if kind not in ("Conv2d", "Linear"):
            continue
        own = _tensors(network.get_submodule(name))
        weight = own["weight"]
        bias = own.get("bias", np.zeros(len(weight)))
        magnitude = np.abs(bias)
        label = name
        if name in norm_of:
            scale, bias, magnitude = _folding(network, norm_of[name])
            weight = weight * scale[:, None, None, None]
            label = f"{name} with {norm_of[name]}"
        folded.append((label, weight, bias, magnitude))
    return folded


def _folding(network: Any, normalisation: str) -> tuple[Doubles, Doubles, Doubles]:
    """Return (scale, bias, magnitude of the bias) that BatchNorm gives the convolution before."""
    bn = _tensors(network.get_submodule(normalisation))
    scale = bn["weight"] / np.sqrt(bn["running_var"] + network.get_submodule(normalisation).eps)
    bias = bn["bias"] - bn["running_mean"] * scale
    return scale, bias, np.abs(bn["bias"]) + np.abs(bn["running_mean"] * scale)


def _tensors(module: Any) -> dict[str, Doubles]:
    """Return a module's parameters and buffers, without counters such as num_batches_tracked."""
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
        found = weights[key].astype(np.float64)
        if found.shape == reference.shape and not _close(found, reference, np.abs(reference)):
            return _difference(f"{name}.{key}", found, reference)
    return None


def _diff_folded_pair(
    network: Any, convolution: str, normalisation: str, weights: Weights
) -> str | None:
    """Compare a folded convolution; name which differs, its own weight or the BatchNorm layer."""
    bn = _tensors(network.get_submodule(normalisation))
    kernel = _tensors(network.get_submodule(convolution))["weight"]
    scale, bias, bias_magnitude = _folding(network, normalisation)
    weight = kernel * scale[:, None, None, None]
    if "weight" not in weights:
        return f"{convolution}.weight is not simply in the file: an operator computes it"
    found = weights["weight"].astype(np.float64)
    found_bias = weights.get("bias", np.zeros(len(bias))).astype(np.float64)
    if found.shape != weight.shape:
        return None
    same_bias = _close(found_bias, bias, bias_magnitude)
    if _close(found, weight, np.abs(weight)):
        if same_bias:
            return None
        if not found_bias.any():
            return f"the bias is missing that {normalisation} leaves in {convolution}"
        return _difference(f"the bias or mean of {normalisation}", found_bias, bias)
    ratio = _channel_ratio(found, weight)
    if ratio is None:
        return _difference(f"{convolution}.weight", found, weight)
    one = np.ones_like(ratio)
    channels = f"in {int(_changed(ratio, one, one).sum())} of {len(ratio)} channels"
    bias_of_other_scale = bn["bias"] - bn["running_mean"] * scale * ratio
    if same_bias and not _close(bias_of_other_scale, bias, bias_magnitude):
        return f"{convolution}.weight is scaled {channels}"
    # BatchNorm's weight and variance scale alike, and so does a kernel where the mean is 0.
    return f"the variance or weight of {normalisation} differs {channels}"


def _close(found: NDArray[Any], reference: Doubles, magnitude: Doubles) -> bool:
    return not _changed(found, reference, magnitude).any()


def _changed(found: NDArray[Any], reference: Doubles, magnitude: Doubles) -> NDArray[np.bool_]:
    """Return which values differ by more than float32 arithmetic explains; NaN always does.

    `magnitude` is the size of the terms that a value was computed from, which may cancel.
    """
    floor = NEGLIGIBLE * float(np.abs(reference).max(initial=0.0))
    return np.asarray(~(np.abs(found - reference) <= FOLDING_ERROR * magnitude + floor))


def _difference(what: str, found: Doubles, reference: Doubles) -> str:
    """Describe how many values differ, and which one the most."""
    if _sorted_rows(found) == _sorted_rows(reference):
        return f"{what} has its rows in another order"
    changed = _changed(found, reference, np.abs(reference))
    place = np.unravel_index(int(np.abs(found - reference).argmax()), found.shape)
    return (
        f"{what} differs in {int(changed.sum())} of {found.size} values, the most in "
        f"{list(map(int, place))}: {found[place]:.4g} instead of {reference[place]:.4g}"
    )


def _sorted_rows(values: Doubles) -> list[bytes]:
    return sorted(row.tobytes() for row in values.astype(np.float32))


def _channel_ratio(found: Doubles, reference: Doubles) -> Doubles | None:
    """Return the factor of each output channel; None where a channel has no one factor."""
    flat, base = (values.reshape(len(values), -1) for values in (found, reference))
    squares = (base * base).sum(axis=1)
    ratio = np.where(squares > 0, (flat * base).sum(axis=1) / np.where(squares > 0, squares, 1), 1)
    scaled = base * ratio[:, None]
    return ratio if _close(flat, scaled, np.abs(scaled)) else None
