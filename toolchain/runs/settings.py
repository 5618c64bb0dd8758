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
from toolchain.runs.learning_settings import ARCHITECTURES as ARCHITECTURES
from toolchain.runs.learning_settings import HIGHEST_RATE as HIGHEST_RATE
from toolchain.runs.learning_settings import MOST_EPOCHS, LearningSettings

SMALLEST_IMAGE = 32
"""Least side of a network's input, in pixels."""
SPLITTING = ("split_ratio", "split_seed", "group_column")
"""Settings that say how data is split, in the order of `Splitting`."""
TRACKERS = ("tensorboard", "mlflow", "wandb")
"""Settings that report a training elsewhere, and change nothing of it."""
CHOOSING = ("budget", "head_start", "probe_l2", "probe_scaling")
"""Settings of the automatic choice, and of the classifier that it may begin with."""
RESIZING = ("start_size", "start_size_epochs")
"""Settings of smaller images in the first epochs."""
ALIGNING = ("target", "align", "align_weight")
"""Settings of another camera, for whose photographs a model is trained."""


class FinetuneSettings(LearningSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a training run; each is an option, a TOML key and a line in settings.toml."""

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
        int, Meta(ge=SMALLEST_IMAGE, le=8192, description="Side of the network's input, in pixels.")
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
    start_size: Annotated[
        int,
        Meta(
            ge=0,
            le=8192,
            description="Side, in pixels, that training images are reduced to in the first epochs, "
            "which then take less time (progressive resizing); 0 never does.",
        ),
    ] = 0
    start_size_epochs: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_EPOCHS,
            description="start_size: how many epochs these are; 0 means half of them.",
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
    mlflow: Annotated[
        bool,
        Meta(description="Report to MLflow, to the server that MLFLOW_TRACKING_URI names."),
    ] = False
    wandb: Annotated[
        bool,
        Meta(description="Report to Weights & Biases; WANDB_MODE=offline keeps it here."),
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
