"""rtl's predictor from Python."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.labellers.images import main
from toolchain import Predictor


def label(model: str, paths: list[str]) -> Sequence[str]:
    """Return the label of each photograph."""
    predictor = Predictor(model)
    return [predictor(path).label for path in paths]


if __name__ == "__main__":
    main(label)
