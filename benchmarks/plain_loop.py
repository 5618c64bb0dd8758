"""A fine-tuning loop as the PyTorch tutorials write it, with which `rtl finetune` is compared.

It has the same images, batches, workers, augmentation, optimiser and learning rates; its workers
stay alive between epochs, frozen parameters have no gradient, and the epoch with the best
validation accuracy is kept. Like the tutorials it runs the frozen layers again in each epoch, with
their BatchNorm in training mode while training.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from toolchain.data.layouts import Sample, read_dataset
from toolchain.networks.resnet import IMAGENET_NORMALISATION, build_network
from toolchain.networks.torchvision_import import import_torchvision
from toolchain.networks.weights import read_weights
from toolchain.runs.settings import FinetuneSettings


@dataclass(frozen=True)
class PlainResult:
    """Validation accuracy of the best epoch, the time of the whole run, and the trained network."""

    val_accuracy: float
    seconds: float
    model: nn.Module


class _Images(Dataset[tuple[torch.Tensor, int]]):
    """Images with their labels, transformed."""

    def __init__(self, samples: tuple[Sample, ...], transform: Any) -> None:
        self.samples, self.transform = samples, transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        sample = self.samples[index]
        with Image.open(sample.path) as image:
            return self.transform(image.convert("RGB")), sample.labels[0]


def plain_loop(settings: FinetuneSettings, *, workers: int = 2) -> PlainResult:
    """Fine-tune as the settings say: head, partial from layer4 or full; augmentation s3 or none.

    The time is that from opening the data until the best weights are in memory.
    """
    started = time.perf_counter()
    torch.manual_seed(settings.seed)
    data = read_dataset(settings.data)
    loaders = _loaders(data.train, data.val, settings, workers)
    model = _model(settings, len(data.classes))
    backbone = [p for n, p in model.named_parameters() if p.requires_grad and "fc" not in n]
    groups = [{"params": list(model.fc.parameters()), "lr": settings.lr_head}]
    groups += [{"params": backbone, "lr": settings.lr_backbone}] if backbone else []
    optimizer_class = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    optimizer = optimizer_class(groups, weight_decay=settings.weight_decay)
    scheduler = _scheduler(optimizer, settings)
    criterion = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    best_accuracy, best_weights = 0.0, copy.deepcopy(model.state_dict())
    for _ in range(settings.epochs):
        accuracy = 0.0
        for phase, loader in loaders.items():
            model.train(phase == "train")
            correct = images = 0
            for inputs, labels in loader:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                correct += int((outputs.argmax(1) == labels).sum())
                images += len(labels)
            accuracy = correct / images
        if settings.schedule == "plateau":
            scheduler.step(accuracy)
        elif scheduler is not None:
            scheduler.step()
        if accuracy > best_accuracy:
            best_accuracy, best_weights = accuracy, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return PlainResult(best_accuracy, time.perf_counter() - started, model)


def plain_labels(model: nn.Module, settings: FinetuneSettings) -> dict[Path, str]:
    """Return the label that a network gives to each validation image, in the data's order."""
    data = read_dataset(settings.data)
    batches = _loaders(data.train, data.val, settings, workers=0)["val"]
    model.eval()
    with torch.inference_mode():
        found = [int(i) for inputs, _ in batches for i in model(inputs).argmax(1)]
    paths = [sample.path for sample in data.val]
    return {path: data.classes[i] for path, i in zip(paths, found, strict=True)}


def _loaders(
    train: tuple[Sample, ...], val: tuple[Sample, ...], settings: FinetuneSettings, workers: int
) -> dict[str, DataLoader[tuple[torch.Tensor, int]]]:
    t = import_torchvision().transforms.v2
    as_tensor = [
        t.ToImage(),
        t.ToDtype(torch.float32, scale=True),
        t.Normalize(IMAGENET_NORMALISATION.mean, IMAGENET_NORMALISATION.std),
    ]
    resize, crop = t.Resize(settings.resize_size), t.CenterCrop(settings.size)
    augmented = [
        t.RandomHorizontalFlip(0.5),
        t.RandomRotation(15),
        t.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
    ]
    transforms = {
        "train": [resize, *(augmented if settings.augment == "s3" else []), crop, *as_tensor],
        "val": [resize, crop, *as_tensor],
    }
    return {
        phase: DataLoader(
            _Images(samples, t.Compose(transforms[phase])),
            batch_size=settings.batch_size,
            shuffle=phase == "train",
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        for phase, samples in (("train", train), ("val", val))
    }


def _model(settings: FinetuneSettings, classes: int) -> Any:
    model = build_network(settings.arch, classes)
    if settings.weights != "none":
        state = read_weights(Path(settings.weights))
        backbone = {n: v for n, v in state.items() if not n.startswith("fc.")}
        model.load_state_dict(backbone, strict=False)
    trained = {"head": ("fc.",), "partial": ("layer4.", "fc."), "full": ("",)}[settings.strategy]
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith(trained)
    return model


def _scheduler(optimizer: torch.optim.Optimizer, settings: FinetuneSettings) -> Any:
    lr = torch.optim.lr_scheduler
    if settings.schedule == "plateau":
        return lr.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=3)
    if settings.schedule == "cosine":
        return lr.CosineAnnealingLR(optimizer, T_max=settings.epochs, eta_min=settings.eta_min)
    return None
