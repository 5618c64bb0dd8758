"""The trained classifier itself, computed by torch eager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import Floats, Pixels

if TYPE_CHECKING:
    from toolchain.networks.resnet import Classifier


class EagerBackend:
    """The trained classifier itself, in torch."""

    def __init__(self, classifier: Classifier, card: Card) -> None:
        self.classifier = classifier
        self.card = card

    def run(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Compute with torch, on the device that the classifier is on."""
        import torch

        from toolchain.networks.resnet import probabilities_of

        # The network is shared with whoever exports it, and may have been left in train mode.
        self.classifier.eval()
        with torch.inference_mode():
            logits = self.classifier(torch.from_numpy(pixels).to(self.classifier.mean.device))
            probabilities = probabilities_of(logits, self.card.temperature, self.card.task)
        return probabilities.cpu().numpy(), logits.cpu().numpy()
