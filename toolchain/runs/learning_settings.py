"""The settings of what is learnt: from which weights and data, which layers, at which rates.

They are the first part of `FinetuneSettings`.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from toolchain.runtime.card import HeadStages, Task

Architecture = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
ARCHITECTURES: tuple[str, ...] = get_args(Architecture)
MOST_EPOCHS = 1_000_000
"""Upper bound of every number of epochs, layers and images: beyond it a number is a typing error,
and what computes with it may overflow."""
HIGHEST_RATE = 1000.0
"""Upper bound of a learning rate. Networks diverge from about 1 on."""


class LearningSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Data, starting weights, trained layers, optimiser, rates and the best epoch."""

    data: Annotated[
        str, Meta(description="Folder of images, or a list file train.txt or labels.csv.")
    ] = ""
    task: Annotated[
        Task,
        Meta(
            description="What an image has: one class (single-label), or any number of them, read "
            "from a CSV (multi-label)."
        ),
    ] = "single-label"
    arch: Annotated[
        Architecture,
        Meta(
            description="Backbone, by its torchvision name; auto takes that of the weights, or "
            "compares those of ImageNet."
        ),
    ] = "resnet18"
    weights: Annotated[
        str,
        Meta(
            description="Where training starts: imagenet (torchvision's, cached or downloaded), "
            "none (from scratch), a run folder, or a weights file (.safetensors, .pth, .ckpt). Of "
            "several the best for these images is chosen."
        ),
    ] = "imagenet"
    strategy: Annotated[
        Literal["head", "partial", "full", "two-stage", "progressive", "bn", "lora", "auto"],
        Meta(
            description="What is trained: the new classifier (head), the later layers too "
            "(partial), everything (full), first head and then partial (two-stage), more layers "
            "every few epochs (progressive); of the later layers only their BatchNorm (bn) or "
            "low-rank differences (lora), a small delta.safetensors; or what measurements on the "
            "training images speak for (auto). With --weights none it is full where nothing is "
            "given."
        ),
    ] = "head"
    budget: Annotated[
        str,
        Meta(
            description="Time that a search for the strategy and its rates may take, the training "
            "included: 90s, 5m, 1h. Empty does not search."
        ),
    ] = ""
    head_stages: Annotated[
        HeadStages,
        Meta(
            description="Which stages of the network the new classifier reads, each pooled: the "
            "last one, the last two, or all four. Earlier stages see texture, the last one objects."
        ),
    ] = "last"
    head_start: Annotated[
        Literal["random", "probe"],
        Meta(
            description="Where the new classifier begins: random, or fitted to the kept features "
            "of the training images by logistic regression (probe)."
        ),
    ] = "random"
    probe_l2: Annotated[
        float,
        Meta(
            gt=0,
            le=1e3,
            description="head_start probe: strength of the penalty on the squared weights.",
        ),
    ] = 0.03
    probe_scaling: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="head_start probe: how far features are standardised, from all divided by "
            "the same number (0) to each by its own deviation (1).",
        ),
    ] = 0.5
    freeze_until: Annotated[
        str,
        Meta(
            description="partial, two-stage, bn, lora: the first part that is trained (layer1 to "
            "layer4), "
            "third (freeze the first third of the layers), or how many layers to freeze."
        ),
    ] = "layer4"
    head_epochs: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST_EPOCHS,
            description="two-stage: epochs in which only the classifier is trained.",
        ),
    ] = 5
    unfreeze_layers: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST_EPOCHS,
            description="progressive: layers that are trained in addition each time.",
        ),
    ] = 10
    unfreeze_every: Annotated[
        int,
        Meta(ge=1, le=MOST_EPOCHS, description="progressive: epochs from one time to the next."),
    ] = 5
    target: Annotated[
        str,
        Meta(
            description="Folder of photographs of another camera, from where the model will work; "
            "they need no labels. The model is trained for them. Empty for none."
        ),
    ] = ""
    align: Annotated[
        Literal["auto", "none", "bn", "mmd", "dann", "coral", "mcc"],
        Meta(
            description="target: how the two cameras are brought together. bn: each is normalised "
            "by its own statistics; mmd, dann, coral: that, and a loss on the difference of their "
            "features; mcc: that, and a loss on undecided predictions; none: only the photographs "
            "in its labels.csv are used; auto is bn."
        ),
    ] = "auto"
    align_weight: Annotated[
        float,
        Meta(
            gt=0,
            le=1000,
            description="mmd, dann, coral, mcc: strength of their loss, 1 being the usual one.",
        ),
    ] = 1.0
    rank: Annotated[
        int,
        Meta(
            ge=1,
            le=512,
            description="lora: rank of each convolution's difference; its size grows with it.",
        ),
    ] = 8
    epochs: Annotated[
        int, Meta(ge=1, le=MOST_EPOCHS, description="Passes over the training images.")
    ] = 25
    batch_size: Annotated[
        int, Meta(ge=1, le=MOST_EPOCHS, description="Images in one training step.")
    ] = 32
    optimizer: Annotated[Literal["adam", "adamw", "sgd"], Meta(description="The optimiser.")] = (
        "adam"
    )
    lr_head: Annotated[
        float, Meta(gt=0, le=HIGHEST_RATE, description="Learning rate of the new classifier.")
    ] = 5e-3
    lr_backbone: Annotated[
        float, Meta(gt=0, le=HIGHEST_RATE, description="Learning rate of trained backbone layers.")
    ] = 1e-4
    layer_decay: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="Rate of each stage (layer4, layer3, …) relative to the one after it; "
            "1 gives all of the backbone the same rate.",
        ),
    ] = 1.0
    momentum: Annotated[float, Meta(ge=0, lt=1, description="Momentum of sgd.")] = 0.9
    weight_decay: Annotated[
        float, Meta(ge=0, le=10, description="Weight decay; norms and biases have none.")
    ] = 1e-4
    clip_norm: Annotated[
        float, Meta(ge=0, le=1e6, description="Clip gradients to this norm; 0 does not clip.")
    ] = 0.0
    schedule: Annotated[
        Literal["constant", "plateau", "cosine", "one-cycle", "step"],
        Meta(
            description="How rates move: not, on a plateau of the validation metric, as a cosine, "
            "up and down in one cycle, in steps. With target the default is cosine."
        ),
    ] = "plateau"
    warmup_epochs: Annotated[
        int,
        Meta(ge=0, le=MOST_EPOCHS, description="Epochs in which the rates rise from near zero."),
    ] = 0
    plateau_factor: Annotated[
        float, Meta(gt=0, lt=1, description="plateau: multiply the rates by this.")
    ] = 0.5
    plateau_patience: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_EPOCHS,
            description="plateau: epochs without a gain that come before that.",
        ),
    ] = 3
    t_max: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_EPOCHS,
            description="cosine: epochs until the lowest rate, after which it rises again; 0 means "
            "all epochs.",
        ),
    ] = 0
    eta_min: Annotated[
        float, Meta(ge=0, le=HIGHEST_RATE, description="cosine: the lowest rate.")
    ] = 1e-6
    step_epochs: Annotated[
        int,
        Meta(
            ge=1, le=MOST_EPOCHS, description="step: epochs from one fall of the rates to the next."
        ),
    ] = 10
    step_factor: Annotated[
        float, Meta(gt=0, lt=1, description="step: multiply the rates by this.")
    ] = 0.1
    cycle_warmup: Annotated[
        float, Meta(gt=0, lt=1, description="one-cycle: share of all steps in which rates rise.")
    ] = 0.3
    metric: Annotated[
        Literal["accuracy", "macro_f1", "auc", "loss"],
        Meta(description="Validation metric that the best epoch, plateau and stopping go by."),
    ] = "accuracy"
    early_stopping: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_EPOCHS,
            description="Stop after this many epochs without a better one; 0 never does.",
        ),
    ] = 0
