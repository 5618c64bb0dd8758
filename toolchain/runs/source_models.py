"""Source models to choose between: several `weights`, or `arch = "auto"`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_paths import read_path
from toolchain.runs.settings_sources import refuse

IMAGENET_ARCHITECTURES = ("resnet18", "resnet34", "resnet50")
"""What `arch = "auto"` compares with ImageNet weights. Larger ones take more than a second an image
to train on a CPU."""


class SourceModel(NamedTuple):
    """A network to start from."""

    weights: str
    arch: str | None = None
    """torchvision's name of the network; None where the file says it."""


def take_source_models(
    values: dict[str, Any],
) -> tuple[dict[str, Any], tuple[SourceModel, ...]]:
    """Return (settings with the first source model alone, all of them); none where it is given.

    `values` are settings as they were given: `weights` may be a list, and `arch` may be auto.
    Raises SettingsError for a list that is empty or has something twice, and for no weights.
    """
    given, arch = values.get("weights"), values.get("arch")
    several = given if isinstance(given, (list, tuple)) else [given or _DEFAULT["weights"]]
    if arch != "auto" and len(several) == 1:
        return (values, ()) if several is not given else ({**values, "weights": several[0]}, ())
    weights = _weights(several)
    if "none" in weights:
        ways = {"strategy": "full", "arch": "resnet18"} if arch == "auto" else {"weights": "none"}
        raise refuse("weights", "random weights are no source to choose; give none alone", ways)
    known = None if arch == "auto" else arch
    models = []
    for name in weights:
        if name == "imagenet" and arch == "auto":
            models += [SourceModel(name, each) for each in IMAGENET_ARCHITECTURES]
        else:
            models.append(SourceModel(name, known or ("resnet18" if name == "imagenet" else None)))
    if len(models) > 1:
        _require_one_class_an_image(values)
    rest = {name: value for name, value in values.items() if name != "arch" or value != "auto"}
    return {**rest, "weights": weights[0]}, tuple(models)


def _weights(listed: Sequence[Any]) -> list[str]:
    if not listed or not all(isinstance(name, str) and name.strip() for name in listed):
        raise refuse("weights", "a list holds files, run folders or imagenet", _DEFAULT)
    names = [read_path(name) for name in listed]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        once = list(dict.fromkeys(names))
        way: dict[str, Any] = {"weights": once if len(once) > 1 else twice}
        raise refuse("weights", f"'{twice}' is given twice", way)
    return names


def _require_one_class_an_image(values: dict[str, Any]) -> None:
    if values.get("task") == "multi-label":
        reason = "a source model is chosen by images of one class each; give one for multi-label"
        raise refuse("weights", reason, _DEFAULT)


_DEFAULT = {"weights": FinetuneSettings().weights}
