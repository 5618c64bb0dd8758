"""Single values of settings: types that can be meant, bounds, and the nearest value that works."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from msgspec import Meta

from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_names import nearest_names
from toolchain.runs.settings_sources import refuse

SEEDS = 2**64
"""torch's generators take this many seeds."""
LOWEST_RATE = 1e-9
"""A step of this size is lost when it is added to weights of 0.01 in float32."""
NUMBERED = re.compile(r"(\D+)(\d{1,9})")
"""A name that differs from others in the number at its end, such as resnet18."""
POOR_BOUNDS = (("batch_size", 1), ("size", 8192))
"""Bounds of settings that hardly any network and machine can train at; the default is named."""
OTHER_VALUES = {
    ("arch", "resnet"): "resnet18",
    ("strategy", "linear"): "head",
    ("strategy", "feature-extraction"): "head",
    ("strategy", "linear-probe"): "head",
    ("strategy", "all"): "full",
    ("optimizer", "sgdm"): "sgd",
    ("schedule", "none"): "constant",
    ("schedule", "onecycle"): "one-cycle",
    ("schedule", "one_cycle"): "one-cycle",
    ("metric", "f1"): "macro_f1",
    ("metric", "val_loss"): "loss",
    ("metric", "acc"): "accuracy",
    ("loss", "ce"): "cross-entropy",
    ("loss", "cross_entropy"): "cross-entropy",
    ("augment", "off"): "none",
    ("precision", "float32"): "fp32",
    ("precision", "bfloat16"): "bf16",
    ("precision", "float16"): "fp16",
    ("device", "gpu"): "cuda",
    ("device", "metal"): "mps",
    ("device", "0"): "cuda",
    ("device", "cuda:0"): "cuda",
    ("split", "validation"): "val",
    ("split", "valid"): "val",
    ("split", "dev"): "val",
    ("format", "json"): "jsonl",
    ("format", "jit"): "torchscript",
    ("format", "pt"): "torchscript",
    ("format", "exported-program"): "pt2",
    ("weights", "default"): "imagenet",
    ("weights", "pretrained"): "imagenet",
    ("weights", "true"): "imagenet",
    ("weights", "imagenet1k"): "imagenet",
    ("weights", "imagenet1k_v1"): "imagenet",
    ("weights", "imagenet1k_v2"): "imagenet",
    ("weights", "false"): "none",
    ("weights", "null"): "none",
    ("weights", "random"): "none",
    ("weights", "scratch"): "none",
}
"""What other tools call a value of a setting, in lower case."""


def converted(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values, with a number of layers as the text that `freeze_until` is.

    Raises SettingsError for a value that no setting can have: text with a null character, and
    numbers that are infinite, none, or have hundreds of digits.
    """
    for key, value in values.items():
        if isinstance(value, str) and "\0" in value:
            raise refuse(key, f"{value!r} has a null character in it")
        if isinstance(value, float) and not math.isfinite(value):
            raise refuse(key, f"expected a finite number, got {value}", *_default(key))
        if isinstance(value, int) and abs(value) >= 2 * SEEDS:
            raise refuse(key, f"{_shortened(str(value))} is too large", *_default(key))
    layers = values.get("freeze_until")
    if isinstance(layers, int) and not isinstance(layers, bool):
        return {**values, "freeze_until": str(layers)}
    return values


def require_in_bounds(settings: FinetuneSettings) -> None:
    """Raise SettingsError for values beyond bounds that are not declared with the setting."""
    if settings.seed >= SEEDS:
        raise refuse(
            "seed", f"{settings.seed} is not below 2^64, as seeds are", {"seed": SEEDS - 1}
        )
    for name in ("lr_head", "lr_backbone"):
        rate = getattr(settings, name)
        if rate < LOWEST_RATE:
            reason = f"{rate:g} is lost in the rounding of the weights; nothing would be learnt"
            raise refuse(name, reason, {name: LOWEST_RATE}, *_default(name))
    freeze = settings.freeze_until
    if freeze not in ("third", "layer1", "layer2", "layer3", "layer4") and not _is_count(freeze):
        raise refuse(
            "freeze_until",
            f"'{_shortened(freeze)}' is not layer1 to layer4, third, or a number of layers",
            *_default("freeze_until"),
        )


def explained(key: str, value: Any, reason: str) -> tuple[Any, ...]:
    """Return why a value is refused and, as changes, what would do: for `refuse`.

    `reason` is msgspec's, "expected `int` >= 1", or "invalid enum value 'x'".
    """
    field = next(f for f in msgspec.structs.fields(FinetuneSettings) if f.name == key)
    if reason.startswith("invalid enum value"):
        known = _choices(field.type)
        reason = f"invalid enum value '{_shortened(str(value))}'"
        meant = meant_value(key, str(value), known)
        if meant is None:
            return (f"{reason}; known are {', '.join(known)}",)
        return f"{reason}; did you mean '{meant}'?", {key: meant}
    if ", got " not in reason:
        reason += f", got {_shortened(repr(value))}"
    nearest = _nearest_value(field, value)
    return (reason,) if nearest is None else (reason, {key: nearest})


def meant_value(key: str, value: str, known: Sequence[str]) -> str | None:
    """Return the known value of a setting or option that `value` may mean; None where none is near.

    That is another tool's word for it, the spelling that is nearest, or of names that differ in
    their numbers the one with the nearest number.

    >>> meant_value("arch", "resnet99", ["resnet18", "resnet50", "resnet101"])
    'resnet101'
    """
    meant = OTHER_VALUES.get((key, value.lower()))
    if meant in known:
        return meant
    if (numbered := _nearest_number(value.lower(), known)) is not None:
        return numbered
    near = nearest_names(value, known, {})
    return near[0] if near else None


def _nearest_number(value: str, known: Sequence[str]) -> str | None:
    """Return the known name that begins as the value does and ends with the nearest number."""
    asked = NUMBERED.fullmatch(value)
    if asked is None:
        return None
    numbers = {
        name: int(m[2])
        for name in known
        if (m := NUMBERED.fullmatch(name)) and m[1].lower() == asked[1]
    }
    return min(numbers, key=lambda name: abs(numbers[name] - int(asked[2])), default=None)


def _nearest_value(field: msgspec.structs.FieldInfo, value: Any) -> Any:
    """Return the allowed value of a setting that is nearest to `value`; None where unclear."""
    kind, *metas = get_args(field.type)
    if kind is bool or kind not in (int, float):
        return None
    number = _as_number(value)
    if number is None or not math.isfinite(number):
        return None
    meta = next(m for m in metas if isinstance(m, Meta))
    beyond_open = (meta.gt is not None and number <= meta.gt) or (
        meta.lt is not None and number >= meta.lt
    )
    if beyond_open:
        return field.default
    low, high = meta.ge, meta.le
    number = max(number, low) if low is not None else number
    number = min(number, high) if high is not None else number
    if (field.name, number) in POOR_BOUNDS:
        return field.default
    return kind(round(number)) if kind is int else float(number)


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _default(key: str) -> tuple[dict[str, Any], ...]:
    """Return the default of a setting as a change that works; nothing for an unknown setting."""
    defaults = msgspec.structs.asdict(FinetuneSettings())
    return ({key: defaults[key]},) if key in defaults else ()


def _choices(kind: Any) -> tuple[str, ...]:
    """Return the choices of a setting: a Literal, or one with a description around it."""
    choices = get_args(kind)
    return choices if isinstance(choices[0], str) else get_args(choices[0])


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) <= 6


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"
