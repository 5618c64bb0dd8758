"""rtl: from a folder of labelled images to a model file that is proved to answer alike everywhere.

>>> from toolchain import Predictor                       # doctest: +SKIP
>>> Predictor("model.onnx")("lunch.jpg").label            # doctest: +SKIP
'omelette'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolchain.errors import (
    DataError,
    ImageError,
    MissingExtraError,
    ModelFileError,
    ParityError,
    PartialFailure,
    ProviderError,
    RefusedError,
    ToolchainError,
    TrainingError,
)
from toolchain.version import __version__ as __version__

if TYPE_CHECKING:
    from toolchain.runtime.prediction import Prediction
    from toolchain.runtime.predictor import Predictor

__all__ = [
    "DataError",
    "ImageError",
    "MissingExtraError",
    "ModelFileError",
    "ParityError",
    "PartialFailure",
    "Prediction",
    "Predictor",
    "ProviderError",
    "RefusedError",
    "ToolchainError",
    "TrainingError",
]


def __getattr__(name: str) -> Any:
    """Import the predictor when it is first asked for: `rtl --help` needs no numpy."""
    if name == "Predictor":
        from toolchain.runtime.predictor import Predictor

        return Predictor
    if name == "Prediction":
        from toolchain.runtime.prediction import Prediction

        return Prediction
    raise AttributeError(f"module 'toolchain' has no attribute {name!r}")
