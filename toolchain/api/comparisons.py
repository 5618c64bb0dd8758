"""What trainings reach, from Python: cross-validation, and all strategies side by side."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from toolchain.api.arguments import Location, Progress, checked, checked_progress
from toolchain.api.packages import names_missing_packages
from toolchain.api.runs import gathered_settings
from toolchain.progress import NotesFirst

if TYPE_CHECKING:
    from toolchain.runs.selection import Selection
    from toolchain.select.cross_validate import CrossValidation

Folds = Annotated[int, Meta(ge=2, le=100)]


@names_missing_packages
def cross_validate(
    data: Location | None = None,
    folds: int = 5,
    *,
    config: Location | None = None,
    progress: Progress = None,
    **settings: Any,
) -> CrossValidation:
    """Measure what a training reaches by cross-validation (`rtl finetune --cv`); none is kept.

    Each of `folds` parts of the labelled images is held out once, so that no validation split is
    needed; one that the data came with stays out. The other arguments are those of `finetune`.

    Returns the accuracy over all images with its 95 % interval, that of each fold, and the macro
    F1. Nothing is written. Raises SettingsError; DataError for data that can't be used, such as a
    class of one image; TrainingError for what stops training.

    >>> import toolchain as rtl
    >>> found = rtl.cross_validate(data, 2, weights="none", size=32, epochs=1, workers=0)
    >>> found.folds
    2
    """
    folds = checked("folds", folds, Folds)
    chosen = gathered_settings(data, config, settings)
    chosen.require_one_source("cross_validate")
    reporter = NotesFirst(checked_progress(progress), chosen.notes)
    from toolchain.select import cross_validate as story
    from toolchain.select.choose import chooser_for

    with chosen.sources.named():
        choose = None if chosen.settings.budget else chooser_for(chosen)
        return story.cross_validate(chosen.settings, folds, progress=reporter, choose=choose)


@names_missing_packages
def try_strategies(
    data: Location | None = None,
    *,
    config: Location | None = None,
    progress: Progress = None,
    **settings: Any,
) -> Selection:
    """Compare all strategies on this data (`rtl finetune --try strategies`); nothing is kept.

    They are trained without one part of the training images after another and measured on that
    part, until `budget` (10m where none is given) ends. What is given is the same in all of them;
    the strategy can't be given. Other arguments are those of `finetune`.

    Returns the table, sorted, in which those that can't be told from the best are ties, and the
    settings of the cheapest of them. Raises as `finetune` does, and TrainingError where the budget
    ends before anything is known.

    >>> import toolchain as rtl
    >>> rtl.try_strategies(data, budget="5d")
    Traceback (most recent call last):
    ...
    toolchain.errors.SettingsError: budget: '5d' is no length of time: write 200ms, 30s, 5m or 1h
    """
    started = time.monotonic()
    chosen = gathered_settings(data, config, settings, comparing=True)
    chosen.require_one_source("try_strategies")
    reporter = NotesFirst(checked_progress(progress), chosen.notes)
    from toolchain.select import try_strategies as story

    with chosen.sources.named():
        return story.try_strategies(
            chosen.settings, chosen.meant, started=started, progress=reporter
        )
