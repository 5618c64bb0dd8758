"""Model files for another camera, from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.api.arguments import (
    Count,
    Location,
    Progress,
    checked,
    checked_path,
    checked_progress,
    optional_path,
)
from toolchain.api.packages import names_missing_packages

if TYPE_CHECKING:
    from toolchain.adaptation.result import Adapted


@names_missing_packages
def adapt(
    model: Location,
    to: Location,
    *,
    source: Location | None = None,
    images: int = 1000,
    output: Location | None = None,
    progress: Progress = None,
) -> Adapted:
    """Fit a model file to the photographs of another camera (`rtl adapt`); needs no torch.

    `model` is an ONNX file in fp32, `to` a folder of photographs from where it will work, of which
    up to `images` are used. They need no labels; with a labels.csv in the folder, the labelled ones
    are measured before and after. `source` is a folder of training photographs, a folder for each
    class, where `….features.npz` is not beside the model. `output` is the new file, by default the
    model's name with `.adapted`, beside it; its verification and references lie beside it.

    Returns the figures, and the path of the new file. Raises RefusedError, whose `result` has the
    figures, where adapting would not help: nothing is written then. Raises ParityError where the
    new file does not compute what it should, ModelFileError for a file that can't be adapted,
    DataError for folders that can't be used or hold too few images, SettingsError.

    >>> import toolchain as rtl
    >>> try:
    ...     adapted = rtl.adapt(model, data / "val")
    ... except rtl.RefusedError as error:
    ...     print(error.result.accepted)
    False
    """
    model, to = checked_path("model", model), checked_path("to", to)
    source, output = optional_path("source", source), optional_path("output", output)
    images = checked("images", images, Count)
    reporter = checked_progress(progress)
    from toolchain.adaptation import adapt as story

    return story.adapt(model, to, source=source, images=images, output=output, progress=reporter)
