"""`rtl finetune --cv` and `--try strategies`: what trainings reach; no model is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolchain.cli import tables, terminal
from toolchain.cli.started import command_start
from toolchain.progress import NotesFirst, ProgressReporter
from toolchain.runs.settings_file import GivenSettings

if TYPE_CHECKING:
    from toolchain.runs.selection import Selection
    from toolchain.select.cross_validate import CrossValidation


def compared(
    chosen: GivenSettings, cv: int | None, *, explain: bool, as_json: bool, quiet: bool
) -> dict[str, Any]:
    """Print what trainings reach, in `cv` folds or by strategy; return settings to train with.

    These are added to those that were given.
    """
    progress = NotesFirst(terminal.progress_reporter(quiet), chosen.notes)
    found: dict[str, Any] = {}
    result: CrossValidation | Selection
    with chosen.sources.named():
        if cv is not None:
            result = _cross_validation(chosen, cv, progress)
        else:
            result = _strategies(chosen, progress)
            found = {**result.chosen, "budget": None}
    if as_json:
        terminal.print_json(result)
    else:
        tables.show_result(result)
    tables.explain(result, "finetune", "", wanted=explain, quiet=quiet or as_json)
    return found


def _cross_validation(
    chosen: GivenSettings, folds: int, progress: ProgressReporter
) -> CrossValidation:
    from toolchain.select.choose import chooser_for
    from toolchain.select.cross_validate import cross_validate

    choose = None if chosen.settings.budget else chooser_for(chosen)
    return cross_validate(chosen.settings, folds, progress=progress, choose=choose)


def _strategies(chosen: GivenSettings, progress: ProgressReporter) -> Selection:
    from toolchain.select.try_strategies import try_strategies

    started = command_start()
    return try_strategies(chosen.settings, chosen.meant, started=started, progress=progress)
