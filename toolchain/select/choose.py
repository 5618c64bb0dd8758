"""Which choice the settings ask for: none, `--strategy auto`, or a search within `--budget`."""

from __future__ import annotations

from toolchain.progress import ProgressReporter
from toolchain.runs.settings_file import GivenSettings
from toolchain.select.strategy_choice import choose_strategy
from toolchain.training.choosing import Choice, ChoiceInputs, Chooser


def chooser_for(given: GivenSettings) -> Chooser | None:
    """Return what makes the choice that the settings ask for; None where they ask for none."""
    if given.settings.strategy != "auto":
        return None

    def choose(inputs: ChoiceInputs, progress: ProgressReporter) -> Choice:
        return choose_strategy(inputs, given.meant, progress)

    return choose
