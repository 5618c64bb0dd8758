"""Every setting of `rtl finetune`, declared once.

The options of the command line, the keys of a TOML file, `settings.toml` in a run folder and
docs/settings.md are all made from this struct.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from toolchain.data.splits import USUAL, Splitting
from toolchain.errors import SettingsError as SettingsError
from toolchain.runtime.card import Task

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
SPLITTING = ("split_ratio", "split_seed", "group_column")
"""Settings that say how data is split, in the order of `Splitting`."""
CHOOSING = ("budget", "head_start", "probe_l2", "probe_scaling")
"""Settings of the automatic choice, and of the classifier that it may begin with."""


class FinetuneSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a training run; each is an option, a TOML key and a line in settings.toml."""

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
    arch: Annotated[Architecture, Meta(description="Backbone, by its torchvision name.")] = (
        "resnet18"
    )
    weights: Annotated[
        str,
        Meta(
            description="Where training starts: imagenet (torchvision's, cached or downloaded), "
            "none (from scratch), a run folder, or a weights file (.safetensors, .pth, .ckpt)."
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
            "up and down in one cycle, in steps."
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
    augment: Annotated[
        Literal["none", "s0", "s1", "s3", "turns", "randaugment", "trivialaugment"],
        Meta(
            description="Augmentation preset: s0 (rotation 45, flips), s1 (s0 with colour jitter), "
            "s3 (flip, rotation 15, mild jitter), turns (flips and quarter turns), randaugment, "
            "trivialaugment, none."
        ),
    ] = "s3"
    mixup: Annotated[
        float, Meta(ge=0, le=100, description="MixUp with Beta(alpha, alpha); 0 does not mix.")
    ] = 0.0
    cutmix: Annotated[
        float,
        Meta(
            ge=0,
            le=100,
            description="CutMix with Beta(alpha, alpha); 0 does not. With MixUp too, each batch "
            "takes one of them.",
        ),
    ] = 0.0
    preprocessing: Annotated[
        Literal["auto", "crop", "squash"],
        Meta(
            description="Clean view: crop (resize the short side, crop the centre), squash "
            "(resize to the square), auto (what the augmentation preset was published with)."
        ),
    ] = "auto"
    size: Annotated[
        int, Meta(ge=32, le=8192, description="Side of the network's input, in pixels.")
    ] = 224
    resize_size: Annotated[
        int,
        Meta(
            ge=0,
            le=16384,
            description="crop: short side before the crop; 0 means 256/224 of the size.",
        ),
    ] = 0
    decode_scale: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="Decode JPEGs smaller while this many times larger than needed; "
            "0 never does.",
        ),
    ] = 0
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Dropout before the classifier.")] = 0.0
    label_smoothing: Annotated[
        float, Meta(ge=0, lt=1, description="Label smoothing of the loss.")
    ] = 0.0
    loss: Annotated[
        Literal["auto", "cross-entropy", "focal", "bce"],
        Meta(
            description="Loss; auto is cross-entropy, and bce (binary cross entropy with logits) "
            "for multi-label."
        ),
    ] = "auto"
    focal_gamma: Annotated[
        float, Meta(ge=0, le=20, description="focal: how little easy images count.")
    ] = 2.0
    class_weights: Annotated[
        bool, Meta(description="Let each class count alike in the loss, however rare it is.")
    ] = False
    balanced_sampling: Annotated[
        bool, Meta(description="Draw training images so that each class is seen alike often.")
    ] = False
    ema: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="Keep a moving average of the weights with this decay, and judge and save "
            "that; 0 does not.",
        ),
    ] = 0.0
    accumulate: Annotated[
        int,
        Meta(ge=1, le=MOST_EPOCHS, description="Batches whose gradients are added before a step."),
    ] = 1
    precision: Annotated[
        Literal["fp32", "bf16", "fp16", "auto"],
        Meta(
            description="Arithmetic of training: fp32, bf16 or fp16 by autocast (fp16 on cuda "
            "only), or whatever a half-second probe finds fastest (auto)."
        ),
    ] = "fp32"
    channels_last: Annotated[
        bool, Meta(description="Keep images and weights channels-last in memory.")
    ] = False
    compile: Annotated[
        bool, Meta(description="Compile the network with torch.compile; needs a C++ compiler.")
    ] = False
    cache: Annotated[
        bool,
        Meta(
            description="Compute what is frozen once for each image and keep it on disk; the rest "
            "trains from there."
        ),
    ] = True
    views: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="cache: augmented views of each training image that are computed. Without "
            "augmentation it is the clean view alone.",
        ),
    ] = 5
    cache_gb: Annotated[
        float,
        Meta(gt=0, le=1e6, description="cache: most space that all kept features take, in GB."),
    ] = 10.0
    tensorboard: Annotated[
        bool, Meta(description="Write TensorBoard logs into the run folder.")
    ] = False
    split_ratio: Annotated[
        str,
        Meta(
            description="Proportions of train, val and test for data without splits of its own; "
            "two numbers make no test split."
        ),
    ] = USUAL.ratio
    split_seed: Annotated[
        int, Meta(ge=0, description="Which images the hash puts into which split.")
    ] = USUAL.seed
    group_column: Annotated[
        str,
        Meta(
            description="Column of a CSV; images with the same text in it, such as several of one "
            "object, stay in one split."
        ),
    ] = USUAL.group_column
    exclude: Annotated[
        str,
        Meta(
            description="A list of images to leave out: what rtl data check --fix-list wrote, or a "
            "path a line."
        ),
    ] = ""
    allow_leaks: Annotated[
        bool,
        Meta(description="Train although the same image stands in more than one split."),
    ] = False
    seed: Annotated[int, Meta(ge=0, description="Seed of everything random.")] = 0
    device: Annotated[
        Literal["auto", "cuda", "mps", "cpu"],
        Meta(description="Where training runs; auto takes cuda, else mps, else cpu."),
    ] = "auto"
    workers: Annotated[
        int,
        Meta(
            ge=-1, le=1024, description="Processes that decode images; -1 means one for each core."
        ),
    ] = -1

    @property
    def splitting(self) -> Splitting:
        """How data without splits of its own is split; raises SettingsError for a ratio."""
        return Splitting(self.split_ratio, self.split_seed, self.group_column)


def describe(field: msgspec.structs.FieldInfo) -> str:
    """Return the description in the declaration of a field."""
    for meta in get_args(field.type)[1:]:
        if isinstance(meta, Meta) and meta.description:
            return meta.description
    raise TypeError(f"{field.name} has no description")
