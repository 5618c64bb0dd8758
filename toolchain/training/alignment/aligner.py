"""What a training step adds for the other camera: its images, the loss, the norms' statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from toolchain.networks.resnet import Classifier, State
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_alignment import WITH_A_LOSS
from toolchain.training.alignment.coral import coral
from toolchain.training.alignment.dann import Discriminator, domain_confusion, ramp
from toolchain.training.alignment.images import UNKNOWN, TargetImages
from toolchain.training.alignment.mcc import class_confusion
from toolchain.training.alignment.mmd import mmd
from toolchain.training.alignment.norms import source_pass
from toolchain.training.alignment.order import labelled_places
from toolchain.training.inputs.samples import Batch, BatchSource
from toolchain.training.optim.averaging import copy_into
from toolchain.training.optim.precision import MixedPrecision

USUAL_WEIGHT = {"mmd": 1.0, "dann": 1.0, "coral": 100.0, "mcc": 1.0}
"""What `align_weight` 1 multiplies the loss of a method by."""


@dataclass(frozen=True)
class OtherCamera:
    """The photographs that a classifier is trained for."""

    images: TargetImages
    source: State
    """The running statistics by which the training images are normalised in layers that are not
    trained; the classifier has those of the photographs."""


class Aligner:
    """Computes the loss of the other camera's images, a batch of them for each training batch."""

    def __init__(
        self,
        classifier: Classifier,
        camera: OtherCamera,
        settings: FinetuneSettings,
        mixed_precision: MixedPrecision,
        device: torch.device,
    ) -> None:
        self.classifier, self.camera = classifier, camera
        self.settings, self.mixed_precision, self.device = settings, mixed_precision, device
        self.head = classifier.network.get_submodule("fc")
        self.discriminator: Discriminator | None = None
        if settings.align == "dann":
            linear = [m for m in self.head.modules() if isinstance(m, nn.Linear)][-1]
            self.discriminator = Discriminator(linear.in_features).to(device)
        self.weight = settings.align_weight * USUAL_WEIGHT.get(settings.align, 0.0)
        self.pooled: list[Tensor] = []
        self.batches: Iterator[Batch] = iter(())
        self.steps = self.step = 1

    def add_parameters(self, optimizer: Optimizer) -> None:
        """Let the optimiser train the discriminator too, at the classifier's rate."""
        if self.discriminator is not None:
            optimizer.add_param_group(
                {
                    "params": list(self.discriminator.parameters()),
                    "lr": self.settings.lr_head,
                    "weight_decay": self.settings.weight_decay,
                }
            )

    def begin_epoch(self, source: BatchSource, epoch: int) -> None:
        """Take the batches of an epoch, from 1; there are as many as of training images."""
        self.batches = source.epoch(epoch)
        self.steps = self.settings.epochs * len(source)
        self.step = (epoch - 1) * len(source)

    @contextlib.contextmanager
    def source_pass(self) -> Iterator[None]:
        """Compute a batch of training images in the block; its pooled features are kept."""
        with source_pass(self.classifier, self.camera.source), self._captured():
            yield

    def loss(self, model: nn.Module) -> Tensor:
        """Return the loss of the next batch of photographs, beside that of the `source_pass`."""
        batch, strength = next(self.batches), ramp(self.step / self.steps) * self.weight
        self.step += 1
        source, known = self.pooled[0].float(), batch.targets != UNKNOWN
        zero = torch.zeros((), device=self.device)
        learns = self.settings.align in WITH_A_LOSS or bool(known.any())
        if not learns and not self._has_own_statistics():
            return zero
        with (
            torch.set_grad_enabled(learns),
            self.mixed_precision.autocast(self.device),
            self._captured(),
        ):
            logits = model(batch.inputs.to(self.device)).float()
        if not learns:
            return zero
        # Those in the places of the labelled ones are drawn more often: they are not compared.
        others = slice(self._labelled_places(known), None)
        loss = self._alignment(source, self.pooled[0].float()[others], logits[others], strength)
        if known.any():
            truth = batch.targets[known].to(self.device)
            loss = loss + functional.cross_entropy(logits[known], truth)
        return loss

    def state(self) -> State:
        """Return everything that the alignment keeps from step to step."""
        state = {f"source.{name}": tensor for name, tensor in self.camera.source.items()}
        if self.discriminator is not None:
            for name, tensor in self.discriminator.state_dict().items():
                state[f"discriminator.{name}"] = tensor
        return state

    def load(self, state: State) -> None:
        """Restore such a state in place."""
        copy_into(self.state(), state)

    def _alignment(self, source: Tensor, target: Tensor, logits: Tensor, strength: float) -> Tensor:
        """Return the loss of the method; features float32 [images, features]."""
        method = self.settings.align
        if min(len(source), len(target)) < 2:
            return torch.zeros((), device=self.device)
        if self.discriminator is not None:
            return domain_confusion(self.discriminator, source, target, strength)
        if method == "mmd":
            return strength * mmd(source, target)
        if method == "coral":
            return strength * coral(source, target)
        if method == "mcc":
            return strength * class_confusion(logits)
        return torch.zeros((), device=self.device)

    def _labelled_places(self, known: Tensor) -> int:
        if not self.camera.images.labelled:
            return 0
        return labelled_places(len(known))

    def _has_own_statistics(self) -> bool:
        """Return whether a norm that is in training mode would learn from the photographs."""
        return any(m.training for m in self.classifier.modules() if isinstance(m, _BatchNorm))

    @contextlib.contextmanager
    def _captured(self) -> Iterator[None]:
        """Keep the inputs of the classifier's last layer in the block: the pooled features."""
        self.pooled = []
        hook = self.head.register_forward_pre_hook(lambda _, given: self.pooled.append(given[0]))
        try:
            yield
        finally:
            hook.remove()
