"""Bounds the size of what a graph computes from its weights alone (constant folding).

onnxruntime computes such values when it opens a file, and keeps them. A node that repeats, fills or
broadcasts can make gigabytes of a few bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MAX_GROWTH = 4
ALLOWANCE = 1 << 20
"""All constants together may have MAX_GROWTH times the values of the weights, plus ALLOWANCE."""

SAME_COUNT = frozenset(
    {
        "Cast",
        "DequantizeLinear",
        "Flatten",
        "Identity",
        "QuantizeLinear",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators whose output has as many values as their first input."""
COMBINING = frozenset({"Add", "Concat", "Div", "Max", "Min", "Mul", "Sub"})
"""Operators whose output has at most the product or the sum of their inputs' values."""

Axes = Sequence[int | str | None]
"""The axes of a tensor: a number is a fixed length, a name or None a free one."""


class ConstantError(ValueError):
    """The constants of the graph are too large, or its nodes are not in topological order."""


class Constants:
    """The values known before each node, and the largest possible size of each constant."""

    def __init__(self, weights: Mapping[str, int], inputs: Mapping[str, Axes]) -> None:
        self.known = {"", *inputs, *weights}
        self.inputs = inputs
        self.counts = dict(weights)
        self.max_values = MAX_GROWTH * sum(weights.values()) + ALLOWANCE
        self.total = 0

    def add_node(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attributes: Mapping[str, int],
        attribute_values: int,
    ) -> None:
        """Add the outputs of the next node.

        `attributes` are its integer attributes, `attribute_values` is how many values its other
        attributes hold. Raises ConstantError for an unknown input, a name used twice, or constants
        that are too large.
        """
        for name in inputs:
            if name not in self.known:
                raise ConstantError(f"a node takes {name[:80]!r}, which nothing before it gives")
        if operator in ("Shape", "Size"):
            self._require_free_axes(operator, inputs, attributes)
            constant = False
        else:
            constant = all(name in self.counts for name in inputs if name)
        named = [name for name in outputs if name]
        for name in named:
            if name in self.known:
                raise ConstantError(f"two nodes give {name[:80]!r}")
            self.known.add(name)
        if constant:
            count = self._max_count(operator, inputs, attribute_values)
            self._add_to_total(count * len(named))
            self.counts.update(dict.fromkeys(named, count))

    def _add_to_total(self, count: int) -> None:
        """Raise ConstantError where all constants together have too many values."""
        self.total += count
        if self.total > self.max_values:
            raise ConstantError(
                f"it computes more than {self.max_values:,} values from its weights alone"
            )

    def _require_free_axes(
        self, operator: str, inputs: Sequence[str], attributes: Mapping[str, int]
    ) -> None:
        """Raise ConstantError for a Shape or Size that does not depend on the image: a constant."""
        axes = self.inputs.get(inputs[0], ()) if inputs else ()
        asked = axes[attributes.get("start", 0) : attributes.get("end", len(axes))]
        if operator == "Size" or not asked or any(isinstance(axis, int) for axis in asked):
            raise ConstantError(f"it computes {operator!r} of what has a fixed shape")

    def _max_count(self, operator: str, inputs: Sequence[str], attribute_values: int) -> int:
        """Return the largest possible number of values in each output of a constant node."""
        if operator == "Constant":
            return attribute_values
        counts = [self.counts[name] for name in inputs if name]
        if operator in SAME_COUNT and counts:
            return counts[0]
        if operator in COMBINING and counts:
            product = 1
            for count in counts:
                product = min(product * count, self.max_values + 1)
            return max(product, sum(counts))
        raise ConstantError(f"it computes {operator[:80]!r} from its weights alone")
