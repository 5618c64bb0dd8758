"""torchvision's ImageNet weights: from torch's cache, else downloaded, else an error in seconds."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import torch

from toolchain.errors import TrainingError
from toolchain.files import display_path
from toolchain.networks.torchvision_import import import_torchvision
from toolchain.progress import ProgressReporter

ANSWER_TIMEOUT_S = 4.0
"""How long the server may take to answer a request before the download counts as impossible."""


def imagenet_state(arch: str, progress: ProgressReporter) -> tuple[dict[str, Any], str]:
    """Return (state dict, origin) of torchvision's default ImageNet weights.

    Raises TrainingError where they can't be loaded; within seconds where they are not cached and
    the server does not answer.
    """
    weights = import_torchvision().models.get_model_weights(arch).DEFAULT
    origin = f"torchvision {weights}"
    cached = _cached_file(weights.url)
    if not cached.is_file():
        if not _answers(weights.url):
            raise TrainingError(
                f"ImageNet weights of {arch} are not cached and their server does not answer",
                hint=f"put {Path(weights.url).name} into {display_path(cached.parent)}, "
                "or give --weights FILE, or --weights none to train from scratch",
            )
        progress.message(f"downloading {Path(weights.url).name}")
    try:
        state = torch.hub.load_state_dict_from_url(weights.url, progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f"ImageNet weights of {arch} could not be loaded: {error}",
            hint=f"remove {cached} if it is damaged, or give --weights FILE",
        ) from error
    return state, origin


def cached_weights(arch: str) -> Path:
    """Return where torch's cache has the ImageNet weights of an architecture, present or not."""
    return _cached_file(import_torchvision().models.get_model_weights(arch).DEFAULT.url)


def _cached_file(url: str) -> Path:
    """Return the path in torch's cache of what is downloaded from this URL."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def _answers(url: str) -> bool:
    """Return whether the server answers in time, the name lookup included."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S):
                answers.append(True)
        except (OSError, ValueError):  # urllib's and the socket's errors are OSErrors
            pass

    # The timeout of urlopen does not cover the name lookup, so the request runs in a thread.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_TIMEOUT_S)
    return bool(answers)
