"""Every setting of `rtl finetune`, declared once.

The options of the command line, the keys of a TOML file, the settings stored with a run and
docs/settings.md all come from this struct.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

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


class SettingsError(ValueError):
    """A setting is unknown or out of its bounds; the command line makes it a usage error."""


class FinetuneSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `rtl finetune` does; each field is an option, a TOML key and a line in the run."""

    data: Annotated[str, Meta(description="Folder of images, or a list file train.txt.")] = ""
    arch: Annotated[Architecture, Meta(description="Backbone, by its torchvision name.")] = (
        "resnet18"
    )
    weights: Annotated[
        str,
        Meta(
            description="Where training starts: imagenet (torchvision's, cached or downloaded), "
            "none (from scratch), or a .safetensors or .pth file."
        ),
    ] = "imagenet"
    strategy: Annotated[
        Literal["head", "partial", "full"],
        Meta(
            description="What is trained: the new classifier (head), the later layers too "
            "(partial), everything (full)."
        ),
    ] = "head"
    freeze_until: Annotated[
        str,
        Meta(
            description="For partial: the first part that is trained (layer1 to layer4), "
            "third (freeze the first third of the layers), or how many layers to freeze."
        ),
    ] = "layer4"
    epochs: Annotated[int, Meta(ge=1, description="Passes over the training images.")] = 25
    batch_size: Annotated[int, Meta(ge=1, description="Images in one training step.")] = 32
    optimizer: Annotated[Literal["adam", "adamw", "sgd"], Meta(description="The optimiser.")] = (
        "adam"
    )
    lr_head: Annotated[float, Meta(gt=0, description="Learning rate of the new classifier.")] = 5e-3
    lr_backbone: Annotated[
        float, Meta(gt=0, description="Learning rate of trained backbone layers.")
    ] = 1e-4
    momentum: Annotated[float, Meta(ge=0, lt=1, description="Momentum of sgd.")] = 0.9
    weight_decay: Annotated[
        float, Meta(ge=0, description="Weight decay; norms and biases have none.")
    ] = 1e-4
    clip_norm: Annotated[
        float, Meta(ge=0, description="Clip gradients to this norm; 0 does not clip.")
    ] = 0.0
    schedule: Annotated[
        Literal["constant", "plateau", "cosine"],
        Meta(description="How rates fall: not, on a plateau of validation accuracy, as a cosine."),
    ] = "plateau"
    warmup_epochs: Annotated[
        int, Meta(ge=0, description="Epochs in which the rates rise from near zero.")
    ] = 0
    plateau_factor: Annotated[
        float, Meta(gt=0, lt=1, description="plateau: multiply the rates by this.")
    ] = 0.5
    plateau_patience: Annotated[
        int, Meta(ge=0, description="plateau: epochs without a gain before that.")
    ] = 3
    t_max: Annotated[
        int, Meta(ge=0, description="cosine: epochs until the lowest rate; 0 means all epochs.")
    ] = 0
    eta_min: Annotated[float, Meta(ge=0, description="cosine: the lowest rate.")] = 1e-6
    early_stopping: Annotated[
        int,
        Meta(ge=0, description="Stop after this many epochs without a better one; 0 never does."),
    ] = 0
    augment: Annotated[
        Literal["none", "s0", "s1", "s3", "turns"],
        Meta(
            description="Augmentation preset: s0 (rotation 45, flips), s1 (s0 with colour jitter), "
            "s3 (flip, rotation 15, mild jitter), turns (flips and quarter turns), none."
        ),
    ] = "s3"
    preprocessing: Annotated[
        Literal["auto", "crop", "squash"],
        Meta(
            description="Clean view: crop (resize the short side, crop the centre), squash "
            "(resize to the square), auto (what the augmentation preset was published with)."
        ),
    ] = "auto"
    size: Annotated[int, Meta(ge=32, description="Side of the network's input, in pixels.")] = 224
    resize_size: Annotated[
        int,
        Meta(ge=0, description="crop: short side before the crop; 0 means 256/224 of the size."),
    ] = 0
    decode_scale: Annotated[
        int,
        Meta(
            ge=0,
            description="Decode JPEGs smaller while this many times larger than needed; "
            "0 never does.",
        ),
    ] = 0
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Dropout before the classifier.")] = 0.0
    label_smoothing: Annotated[
        float, Meta(ge=0, lt=1, description="Label smoothing of the loss.")
    ] = 0.0
    seed: Annotated[int, Meta(ge=0, description="Seed of everything random.")] = 0
    device: Annotated[
        Literal["auto", "cuda", "mps", "cpu"],
        Meta(description="Where training runs; auto takes cuda, else mps, else cpu."),
    ] = "auto"
    workers: Annotated[
        int, Meta(ge=-1, description="Processes that decode images; -1 means one for each core.")
    ] = -1


def read_settings(config: Path | None, given: dict[str, Any]) -> FinetuneSettings:
    """Give the settings from a TOML file and, over it, what was `given` by hand.

    Raises SettingsError naming the key and the nearest known one, or the value and its bounds.
    """
    values: dict[str, Any] = {}
    if config is not None:
        try:
            values = tomllib.loads(config.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(
                f"{config}: {(error.strerror or 'not readable').lower()}"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{config} is not TOML: {error}") from error
    source = f"{config}: " if config else ""
    _require_known(values | given, source)
    try:
        return resolve(msgspec.convert(values | given, FinetuneSettings))
    except msgspec.ValidationError as error:
        raise SettingsError(source + _plain(str(error))) from error


def _require_known(values: dict[str, Any], source: str) -> None:
    known = FinetuneSettings.__struct_fields__
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            meant = f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(known)}"
            raise SettingsError(f"{source}unknown setting '{key}'{meant}")


def _plain(message: str) -> str:
    """Turn msgspec's "Expected … - at `$.key`" into "key: expected …"."""
    text, _, path = message.rpartition(" - at `$.")
    return f"{path.rstrip('`')}: {text[0].lower()}{text[1:]}" if text else message


def resolve(settings: FinetuneSettings) -> FinetuneSettings:
    """Replace what means "depends on another setting" by its value.

    Raises SettingsError where two settings contradict each other.
    """
    mode = settings.preprocessing
    if mode == "auto":
        mode = "squash" if settings.augment in ("s0", "s1") else "crop"
    resize_size = settings.resize_size or round(settings.size * 256 / 224)
    if mode == "crop" and resize_size < settings.size:
        raise SettingsError(f"resize_size: {resize_size} is smaller than size {settings.size}")
    freeze = settings.freeze_until
    if freeze not in ("third", "layer1", "layer2", "layer3", "layer4") and not freeze.isdecimal():
        raise SettingsError(
            f"freeze_until: '{freeze}' is not layer1 to layer4, third, or a number of layers"
        )
    return msgspec.structs.replace(
        settings,
        preprocessing=mode,
        resize_size=resize_size,
        t_max=settings.t_max or settings.epochs,
    )


def settings_toml(settings: FinetuneSettings) -> str:
    """Give the settings as TOML with each field's description above it."""
    lines = []
    for field in msgspec.structs.fields(FinetuneSettings):
        value = getattr(settings, field.name)
        # A JSON string or number is a TOML string or number.
        lines.append(f"# {describe(field)}\n{field.name} = {msgspec.json.encode(value).decode()}\n")
    return "\n".join(lines)


def settings_sha256(settings: FinetuneSettings) -> str:
    """Give a digest of the settings that shape the result; where the data lies is not one."""
    values = msgspec.to_builtins(settings)
    for place in ("data", "device", "workers"):
        del values[place]
    return hashlib.sha256(msgspec.json.encode(values, order="sorted")).hexdigest()


def describe(field: msgspec.structs.FieldInfo) -> str:
    """Give the description that a field was declared with."""
    for meta in get_args(field.type)[1:]:
        if isinstance(meta, Meta) and meta.description:
            return meta.description
    raise TypeError(f"{field.name} has no description")
