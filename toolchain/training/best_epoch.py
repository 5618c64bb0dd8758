"""The epochs of a training that are finished, and the best of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from toolchain.metrics.outputs import Outputs
from toolchain.networks.resnet import State


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch of those that are finished."""

    epoch: int
    weights: State
    """Copies of the tensors that training changes."""
    outputs: Outputs
    """Of the validation images."""

    def is_beaten_by(self, outputs: Outputs, metric: str) -> bool:
        """Return whether an epoch with these outputs is better than this one.

        The metric decides, then the lower loss, because small validation sets often tie.
        """
        own = (self.outputs.score(metric), -self.outputs.loss)
        return (outputs.score(metric), -outputs.loss) > own


@dataclass(frozen=True)
class FinishedEpochs:
    """The finished epochs, replaced as one value after each epoch.

    So an interrupt finds an epoch in both fields or in neither.
    """

    history: tuple[dict[str, Any], ...] = ()
    """The lines of metrics.jsonl."""
    best: BestEpoch | None = None
