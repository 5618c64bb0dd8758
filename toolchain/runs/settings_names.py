"""Names of settings as people type them: the nearest known one, and other tools' words for it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

OTHER_WORDS: dict[str, tuple[str, ...]] = {
    "data": ("dataset", "data_dir", "data_path", "train_dir", "root", "source", "images"),
    "task": ("mode", "problem", "problem_type", "multilabel", "multi_label"),
    "arch": ("model", "architecture", "backbone", "network", "net", "model_name", "encoder"),
    "weights": (
        "pretrained",
        "checkpoint",
        "ckpt",
        "init",
        "pretrained_weights",
        "load",
        "initial",
    ),
    "strategy": ("finetuning", "fine_tuning", "finetune", "method", "train_layers"),
    "freeze_until": ("freeze", "frozen", "freeze_layers", "unfreeze_from", "freeze_backbone"),
    "epochs": ("ep", "num_epochs", "n_epochs", "max_epochs", "nb_epochs", "train_epochs", "iters"),
    "batch_size": ("batch", "bs", "b", "batchsize", "train_batch_size", "mini_batch_size"),
    "optimizer": ("opt", "optim", "optimiser"),
    "lr_head": ("lr", "learning_rate", "lr0", "base_lr", "rate", "head_lr", "lr_classifier", "eta"),
    "lr_backbone": (
        *("lr", "learning_rate", "lr0", "base_lr", "rate", "backbone_lr", "lr_body"),
        *("lr_encoder", "finetune_lr"),
    ),
    "layer_decay": ("layerwise_decay", "llrd", "lr_decay_rate", "discriminative_lr"),
    "weight_decay": ("wd", "l2", "decay", "l2_regularization"),
    "clip_norm": ("clip", "clip_grad", "grad_clip", "max_grad_norm", "gradient_clip_val"),
    "schedule": ("scheduler", "sched", "lr_scheduler", "lr_schedule", "lr_policy"),
    "warmup_epochs": ("warmup", "warm_up", "num_warmup_epochs", "warmup_steps"),
    "plateau_patience": ("patience", "lr_patience"),
    "plateau_factor": ("factor", "gamma", "lr_factor"),
    "step_epochs": ("step_size", "lr_step_size", "decay_epochs"),
    "step_factor": ("lr_gamma", "gamma", "decay_rate"),
    "eta_min": ("min_lr", "lr_min", "final_lr"),
    "metric": ("monitor", "eval_metric", "best_metric", "score"),
    "early_stopping": ("patience", "early_stop", "early_stopping_patience", "stop_after"),
    "augment": ("aug", "aa", "augmentation", "augmentations", "auto_augment", "transforms"),
    "mixup": ("mixup_alpha", "mix"),
    "cutmix": ("cutmix_alpha",),
    "preprocessing": ("preprocess", "crop", "resize_mode"),
    "size": (
        *("img_size", "imgsz", "image_size", "input_size", "resolution", "crop_size", "img"),
        *("train_crop_size", "pixels"),
    ),
    "resize_size": ("resize", "train_resize_size", "val_resize_size"),
    "dropout": ("drop", "drop_rate", "dropout_rate"),
    "label_smoothing": ("smoothing", "smooth"),
    "loss": ("criterion", "loss_function", "loss_fn", "objective"),
    "focal_gamma": ("focal", "gamma"),
    "class_weights": ("weighted_loss", "class_weight", "pos_weight", "weighted"),
    "balanced_sampling": ("balanced", "oversample", "weighted_sampler", "sampler"),
    "ema": ("model_ema", "ema_decay", "moving_average", "average_weights"),
    "accumulate": (
        *("accumulation", "accumulation_steps", "grad_accum", "grad_accum_steps"),
        *("gradient_accumulation_steps", "accum_iter", "accumulate_grad_batches"),
    ),
    "precision": ("amp", "half", "fp16", "bf16", "mixed_precision", "dtype"),
    "cache": ("cached", "cache_features"),
    "tensorboard": ("logger", "log", "tb"),
    "mlflow": ("mlflow_tracking_uri", "tracking_uri"),
    "wandb": ("weights_and_biases", "report_to"),
    "seed": ("random_seed", "manual_seed", "random_state", "rng"),
    "device": ("gpu", "gpus", "cuda", "accelerator"),
    "workers": (
        "num_workers",
        "n_workers",
        "j",
        "jobs",
        "threads",
        "loaders",
        "dataloader_workers",
    ),
    "output": (
        *("out", "output_dir", "out_dir", "save_dir", "run", "run_dir", "project", "name", "o"),
        *("logdir", "log_dir", "save"),
    ),
    "config": ("cfg", "conf", "yaml", "toml", "settings"),
    "lr_find": ("find_lr", "lr_finder", "auto_lr_find", "lr_range_test"),
    "resume": ("continue", "restart"),
    "top": ("topk", "top_k"),
    "format": ("fmt", "type", "export_format", "include"),
    "threads": ("num_threads", "intra_op_num_threads", "cpus"),
    "provider": ("device", "gpu", "execution_provider", "ep", "backend"),
    "json": ("as_json", "output_json"),
    "quiet": ("silent", "no_progress", "q"),
}
"""The names of settings and options, each with what other tools call the same thing."""


def nearest_names(
    word: str, known: Sequence[str], other_words: Mapping[str, Sequence[str]] = OTHER_WORDS
) -> list[str]:
    """Return the known names that somebody who typed `word` may have meant, the likeliest first.

    They are those for which it is another tool's word, by `other_words`, else the one whose
    spelling is nearest; none where nothing is near. Hyphens and underscores are the same.

    >>> nearest_names("learning-rate", ["epochs", "lr_head", "lr_backbone"])
    ['lr_head', 'lr_backbone']
    >>> nearest_names("epoch", ["epochs", "lr_head"])
    ['epochs']
    """
    plain = word.strip().strip("-").replace("-", "_").lower()
    negated = plain.removeprefix("no_")
    by_plain = {name.strip("-").replace("-", "_").lower(): name for name in known}
    for asked in (plain, negated):
        if asked in by_plain:
            return [by_plain[asked]]
        meant = [by_plain[n] for n in by_plain if asked in other_words.get(n, ())]
        if meant:
            return meant
    near = difflib.get_close_matches(plain, by_plain, n=1, cutoff=0.6)
    if near:
        return [by_plain[near[0]]]
    words = {other: name for name in by_plain for other in other_words.get(name, ())}
    near = difflib.get_close_matches(plain, words, n=1, cutoff=0.8) if len(plain) > 3 else []
    return [by_plain[words[near[0]]]] if near else []


def did_you_mean(word: str, known: Sequence[str], quote: str = "'") -> str:
    """Return a question with the names that are nearest to `word`; all names where none is."""
    near = nearest_names(word, known)
    if not near:
        return f"known are {', '.join(known)}"
    return f"did you mean {' or '.join(f'{quote}{name}{quote}' for name in near)}?"
