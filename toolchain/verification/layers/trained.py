"""The layers of the trained network: its intermediate outputs, calls and module names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.layer_names import NORMALISE, call_name
from toolchain.backends.torch_eager import EagerBackend
from toolchain.runtime.card import LOGITS
from toolchain.runtime.model_inputs import ModelOutputs


def trained_layers(
    eager: EagerBackend, pixels: NDArray[np.uint8], wanted: Collection[str]
) -> dict[str, NDArray[np.float32]]:
    """Return the outputs of the calls in `wanted`, and the logits, by the names of the calls."""
    found: dict[str, NDArray[np.float32]] = {}

    def keep(call: str, _: str, output: Any) -> None:
        if call in wanted:
            # A copy: the next module may work in place.
            found[call] = output.detach().float().cpu().numpy().copy()

    found[LOGITS] = _run_with_hooks(eager, pixels, keep).logits
    return found


def trained_calls(eager: EagerBackend, pixels: NDArray[np.uint8]) -> list[tuple[str, str]]:
    """Return (name, class of the module) of the network's calls, in the order they are made."""
    calls: list[tuple[str, str]] = []
    _run_with_hooks(eager, pixels, lambda call, kind, _: calls.append((call, kind)))
    return calls


def convolution_before(network: Any, normalisation: str) -> str | None:
    """Return the name of the convolution that a BatchNorm layer follows; None for other layers.

    An exporter folds the two into one operator.
    """
    pairs = _PAIRS.get(network)
    if pairs is None:
        pairs = _PAIRS[network] = _folded_pairs(network)
    return pairs.get(normalisation)


_PAIRS: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()
"""Those of each network, which is asked about each of its layers several times."""


def _folded_pairs(network: Any) -> dict[str, str]:
    """Return the convolution that each BatchNorm layer follows."""
    pairs: dict[str, str] = {}
    convolution = None
    for name, module in _leaf_modules(network):
        kind = type(module).__name__
        if kind == "Conv2d":
            convolution = name
        elif kind == "BatchNorm2d" and convolution is not None:
            pairs[name] = convolution
    return pairs


def last_linear(network: Any) -> str | None:
    """Return the name of the layer whose output the logits are."""
    linear = [n for n, module in network.named_modules() if type(module).__name__ == "Linear"]
    return linear[-1] if linear else None


def _run_with_hooks(
    eager: EagerBackend, pixels: NDArray[np.uint8], on_call: Callable[[str, str, Any], None]
) -> ModelOutputs:
    """Run the network; `on_call` gets each leaf module's call: its name, class and output.

    The network's own input comes first, as the call `normalise`.
    """
    network = eager.classifier.network
    calls: Counter[str] = Counter()

    def report(name: str, module: Any, output: Any) -> None:
        calls[name] += 1
        on_call(call_name(name, calls[name]), type(module).__name__, output)

    hooks = [network.register_forward_pre_hook(lambda net, given: report(NORMALISE, net, given[0]))]
    hooks += [
        module.register_forward_hook(
            lambda module, given, output, name=name: report(name, module, output)
        )
        for name, module in _leaf_modules(network)
    ]
    try:
        return eager.run(pixels)
    finally:
        for hook in hooks:
            hook.remove()


def _leaf_modules(network: Any) -> list[tuple[str, Any]]:
    """Return (name, module) of the modules without children, in the order of their definition."""
    return [(n, module) for n, module in network.named_modules() if not list(module.children())]
