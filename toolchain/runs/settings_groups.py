"""The settings of `rtl finetune` in groups, as its help and docs/settings.md list them."""

from __future__ import annotations

import msgspec

from toolchain.runs.settings import ALIGNING, RESIZING, TRACKERS, FinetuneSettings

GROUPS: dict[str, tuple[str, ...]] = {
    "Most used": (
        "weights",
        "arch",
        "strategy",
        "budget",
        "epochs",
        "batch_size",
        "size",
        "lr_head",
        "augment",
    ),
    "Data": ("data", "task", "split_ratio", "split_seed", "group_column", "exclude", "allow_leaks"),
    "What is trained": (
        "freeze_until",
        "head_epochs",
        "unfreeze_layers",
        "unfreeze_every",
        "rank",
        "head_stages",
        "head_start",
        "probe_l2",
        "probe_scaling",
    ),
    "Another camera": ALIGNING,
    "Optimiser": (
        "optimizer",
        "lr_backbone",
        "momentum",
        "weight_decay",
        "layer_decay",
        "clip_norm",
        "accumulate",
    ),
    "Learning rate over time": (
        "schedule",
        "warmup_epochs",
        "plateau_factor",
        "plateau_patience",
        "t_max",
        "eta_min",
        "step_epochs",
        "step_factor",
        "cycle_warmup",
    ),
    "Best epoch and stopping": ("metric", "early_stopping"),
    "Images: reading and augmentation": (
        "preprocessing",
        "resize_size",
        "decode_scale",
        "mixup",
        "cutmix",
    ),
    "Loss and balance": (
        "loss",
        "focal_gamma",
        "class_weights",
        "balanced_sampling",
    ),
    "Regularisation": ("dropout", "label_smoothing", "ema"),
    "Kept features": ("cache", "views", "cache_gb"),
    "Hardware and speed": (
        "device",
        "workers",
        "precision",
        "channels_last",
        "compile",
        *RESIZING,
    ),
    "Logging and repeatability": ("seed", *TRACKERS),
}
"""Title → settings, in reading order. A setting that is in none is listed last, under OTHER."""
OTHER = "Other settings"


def grouped_settings() -> dict[str, tuple[str, ...]]:
    """Return the groups with every setting in exactly one of them."""
    listed = {name for names in GROUPS.values() for name in names}
    others = tuple(n for n in FinetuneSettings.__struct_fields__ if n not in listed)
    return {**GROUPS, **({OTHER: others} if others else {})}


def fields_of(names: tuple[str, ...]) -> list[msgspec.structs.FieldInfo]:
    """Return the declarations of these settings."""
    by_name = {field.name: field for field in msgspec.structs.fields(FinetuneSettings)}
    return [by_name[name] for name in names]
