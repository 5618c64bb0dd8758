"""rtl: from a folder of labelled images to a model file that is proved to answer alike everywhere.

A function for each command (`finetune`, `evaluate`, `export`, `verify`, `bench`, `predict` …), the
`Predictor` that an app embeds, and the errors. Everything is imported when it is first used, so
that `import toolchain` needs neither numpy nor torch.

>>> import toolchain as rtl                                 # doctest: +SKIP
>>> rtl.Predictor("model.onnx")("lunch.jpg").label          # doctest: +SKIP
'omelette'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolchain.errors import (
    DataError,
    ImageError,
    Interrupted,
    MissingExtraError,
    ModelFileError,
    OutputError,
    ParityError,
    PartialFailure,
    ProviderError,
    RefusedError,
    SettingsError,
    ToolchainError,
    TrainingError,
)
from toolchain.version import __version__ as __version__

if TYPE_CHECKING:
    from toolchain.api import (
        adapt,
        bench,
        check_data,
        cross_validate,
        evaluate,
        export,
        find_lr,
        finetune,
        inspect,
        predict,
        report,
        resume,
        try_strategies,
        verify,
    )
    from toolchain.runtime.prediction import Prediction
    from toolchain.runtime.predictor import Predictor

__all__ = [
    "DataError",
    "ImageError",
    "Interrupted",
    "MissingExtraError",
    "ModelFileError",
    "OutputError",
    "ParityError",
    "PartialFailure",
    "Prediction",
    "Predictor",
    "ProviderError",
    "RefusedError",
    "SettingsError",
    "ToolchainError",
    "TrainingError",
    "adapt",
    "bench",
    "check_data",
    "cross_validate",
    "evaluate",
    "export",
    "find_lr",
    "finetune",
    "inspect",
    "predict",
    "report",
    "resume",
    "try_strategies",
    "verify",
]

_MODULES = {
    "Prediction": "toolchain.runtime.prediction",
    "Predictor": "toolchain.runtime.predictor",
}
"""Where a name is when it is first asked for; the functions are in `toolchain.api`."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'toolchain' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES.get(name, "toolchain.api")), name)


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet too."""
    return sorted(__all__)
