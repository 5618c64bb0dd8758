"""Follows what a graph computes from its weights alone, and bounds it.

onnxruntime computes such values once, when it opens a file, and keeps them. A node that repeats,
fills or spreads can make gigabytes of a few bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MOST_GROWTH = 4
SMALL = 1 << 20
"""All constants together may be so many times the weights, and so many values more."""

KEEPING = frozenset(
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
"""They give as many values as their first input has."""
COMBINING = frozenset({"Add", "Concat", "Div", "Max", "Min", "Mul", "Sub"})
"""They give at most the product, or the sum, of their inputs' counts."""

Axes = Sequence[int | str | None]
"""Of a tensor: a number is a fixed length, all else is free."""


class ConstantError(ValueError):
    """The graph makes more of its weights than a model of rtl does, or is in no order."""


class Constants:
    """The values of a graph so far, and how many elements each constant one has at most."""

    def __init__(self, weights: Mapping[str, int], inputs: Mapping[str, Axes]) -> None:
        self.known = {"", *inputs, *weights}
        self.inputs = inputs
        self.counts = dict(weights)
        self.most = MOST_GROWTH * sum(weights.values()) + SMALL
        self.made = 0

    def follow(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attributes: Mapping[str, int],
        held: int,
    ) -> None:
        """Take the next node: its whole-number attributes, and how many values its others hold."""
        for name in inputs:
            if name not in self.known:
                raise ConstantError(f"a node takes {name[:80]!r}, which nothing before it gives")
        if operator in ("Shape", "Size"):
            self._require_free_axes(operator, inputs, attributes)
            constant = False
        else:
            constant = all(name in self.counts for name in inputs if name)
        given = [name for name in outputs if name]
        for name in given:
            if name in self.known:
                raise ConstantError(f"two nodes give {name[:80]!r}")
            self.known.add(name)
        if constant:
            count = self._count(operator, inputs, held)
            self._spend(count * len(given))
            self.counts.update(dict.fromkeys(given, count))

    def _spend(self, count: int) -> None:
        """Raise ConstantError where all constants together outgrow the weights."""
        self.made += count
        if self.made > self.most:
            raise ConstantError(
                f"it computes more than {self.most:,} values from its weights alone"
            )

    def _require_free_axes(
        self, operator: str, inputs: Sequence[str], attributes: Mapping[str, int]
    ) -> None:
        """Raise ConstantError for a length that is known before there is an image."""
        axes = self.inputs.get(inputs[0], ()) if inputs else ()
        asked = axes[attributes.get("start", 0) : attributes.get("end", len(axes))]
        if operator == "Size" or not asked or any(isinstance(axis, int) for axis in asked):
            raise ConstantError(f"it computes {operator!r} of what has a fixed shape")

    def _count(self, operator: str, inputs: Sequence[str], held: int) -> int:
        """Bound how many values a node gives whose inputs are all constant."""
        if operator == "Constant":
            return held
        counts = [self.counts[name] for name in inputs if name]
        if operator in KEEPING and counts:
            return counts[0]
        if operator in COMBINING and counts:
            product = 1
            for count in counts:
                product = min(product * count, self.most + 1)
            return max(product, sum(counts))
        raise ConstantError(f"it computes {operator[:80]!r} from its weights alone")
