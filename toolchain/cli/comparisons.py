"""`rtl finetune --cv` and `--try strategies`: what trainings reach; no model is kept."""

from __future__ import annotations

from typing import Any

from toolchain.cli import tables, terminal
from toolchain.cli.started import command_start
from toolchain.progress import NotesFirst
from toolchain.runs.settings_file import GivenSettings


def show_cross_validation(
    chosen: GivenSettings, folds: int, *, explain: bool, as_json: bool, quiet: bool
) -> None:
    """Print the accuracy that a training with these settings reaches."""
    from toolchain.select.choose import chooser_for
    from toolchain.select.cross_validate import cross_validate

    progress = NotesFirst(terminal.progress_reporter(quiet), chosen.notes)
    with chosen.sources.named():
        choose = None if chosen.settings.budget else chooser_for(chosen)
        result = cross_validate(chosen.settings, folds, progress=progress, choose=choose)
    _show(result, explain, as_json, quiet)


def show_strategies(
    chosen: GivenSettings, *, explain: bool, as_json: bool, quiet: bool
) -> dict[str, Any]:
    """Print the table of all strategies, and return the settings of the one that was chosen."""
    from toolchain.select.try_strategies import try_strategies

    progress = NotesFirst(terminal.progress_reporter(quiet), chosen.notes)
    with chosen.sources.named():
        result = try_strategies(
            chosen.settings, chosen.meant, started=command_start(), progress=progress
        )
    _show(result, explain, as_json, quiet)
    return result.chosen


def _show(result: Any, explain: bool, as_json: bool, quiet: bool) -> None:
    if as_json:
        terminal.print_json(result)
    else:
        tables.show_result(result)
    tables.explain(result, "finetune", "", wanted=explain, quiet=quiet or as_json)
