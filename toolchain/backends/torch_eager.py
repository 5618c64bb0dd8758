"""The trained classifier, computed by PyTorch in eager mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import ModelOutputs, Pixels

if TYPE_CHECKING:
    from toolchain.networks.resnet import Classifier


class EagerBackend:
    """A trained classifier, with the card that holds its temperature and task."""

    def __init__(self, classifier: Classifier, card: Card) -> None:
        self.classifier = classifier
        self.card = card

    def run(self, pixels: Pixels) -> ModelOutputs:
        """Return the outputs for pixels uint8 [batch, size, size, 3].

        They are computed on the device that the classifier is on, in eval mode.
        """
        import torch

        from toolchain.networks.resnet import probabilities_of

        self.classifier.eval()  # an exporter that shares the network may have left it in train mode
        with torch.inference_mode():
            logits = self.classifier(torch.from_numpy(pixels).to(self.classifier.mean.device))
            probabilities = probabilities_of(logits, self.card.temperature, self.card.task)
        return ModelOutputs(probabilities.cpu().numpy(), logits.cpu().numpy())
