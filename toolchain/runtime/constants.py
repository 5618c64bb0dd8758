"""Follows what a graph computes from its weights alone, and bounds it.

onnxruntime computes such values once, when it opens a file, and keeps them. A node that repeats,
fills or spreads can make gigabytes of a few bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

MOST_GROWTH = 4
SMALL = 1 << 20
"""All constants together may be so many times the weights, and so many values more."""
SHAPE = 16
"""Values that the shape of a tensor has at most."""

SHAPES = frozenset({"Shape", "Size"})
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
COMBINING = frozenset(
    {
        "Add",
        "Concat",
        "Div",
        "Max",
        "Min",
        "Mul",
        "ReduceMax",
        "ReduceMin",
        "Round",
        "Sub",
    }
)
"""They give at most as many values as the product of their inputs' counts and 2 for each."""


class ConstantError(ValueError):
    """The graph makes more of its weights than a model of rtl does, or is in no order."""


class Constants:
    """The values of a graph so far, and how many elements each constant one has at most."""

    def __init__(self, weights: Mapping[str, int], inputs: Iterable[str]) -> None:
        self.known = {"", *inputs, *weights}
        self.counts = dict(weights)
        self.given = sum(weights.values())
        self.made = 0

    def follow(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], held: int
    ) -> None:
        """Take the next node; `held` is how many values its attributes hold."""
        for name in inputs:
            if name not in self.known:
                raise ConstantError(f"a node takes {name[:80]!r}, which nothing before it gives")
        constant = operator in SHAPES or all(name in self.counts for name in inputs if name)
        count = self._count(operator, inputs, held) if constant else 0
        for name in filter(None, outputs):
            if name in self.known:
                raise ConstantError(f"two nodes give {name[:80]!r}")
            self.known.add(name)
            if constant:
                self.counts[name] = count
                self.made += count

    def require_small(self) -> None:
        """Raise ConstantError where the constants outgrow the weights."""
        most = MOST_GROWTH * self.given + SMALL
        if self.made > most:
            raise ConstantError(
                f"it computes {self.made:,} values from its {self.given:,} weights alone"
            )

    def _count(self, operator: str, inputs: Sequence[str], held: int) -> int:
        """Bound how many values a node gives whose inputs are all constant."""
        if operator in SHAPES:
            return SHAPE
        if operator == "Constant":
            return held
        counts = [self.counts[name] for name in inputs if name]
        if operator in KEEPING and counts:
            return counts[0]
        if operator in COMBINING and counts:
            product = 1
            for count in counts:
                product *= count
            return max(product, sum(counts))
        raise ConstantError(f"it computes {operator[:80]!r} from its weights alone")
