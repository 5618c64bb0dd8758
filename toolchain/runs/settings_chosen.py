"""Settings that `strategy = "auto"` and `budget` choose, and the form of a budget."""

from __future__ import annotations

from toolchain.durations import seconds_of
from toolchain.errors import SettingsError
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_sources import refuse

BY_AUTO = ("freeze_until", "head_epochs", "unfreeze_layers", "unfreeze_every", "rank")
"""What `strategy = "auto"` decides with the strategy."""
BY_BUDGET = (
    *BY_AUTO,
    "epochs",
    "lr_head",
    "lr_backbone",
    "layer_decay",
    "schedule",
    "warmup_epochs",
    "early_stopping",
    "head_start",
    "probe_l2",
    "probe_scaling",
)
"""What a search within a budget decides."""
USED_WITH = {
    "freeze_until": "partial",
    "head_epochs": "two-stage",
    "unfreeze_layers": "progressive",
    "unfreeze_every": "progressive",
    "rank": "lora",
    "lr_backbone": "partial",
    "layer_decay": "partial",
}
"""Setting → a strategy with which it can be given; `head` for the others."""
LONGEST_S = 30 * 24 * 3600.0


def budget_seconds(text: str) -> float:
    """Return a budget in seconds; raise SettingsError for a text that is none.

    >>> budget_seconds("90s"), budget_seconds("5m"), budget_seconds("1.5h")
    (90.0, 300.0, 5400.0)
    """
    try:
        seconds = seconds_of(text)
    except ValueError as error:
        raise refuse("budget", str(error), {"budget": "5m"}) from error
    if seconds > LONGEST_S:
        raise refuse("budget", f"'{text}' is longer than 30 days", {"budget": "1h"})
    return seconds


def require_nothing_chosen_twice(
    settings: FinetuneSettings, meant: frozenset[str], *, comparing: bool = False
) -> None:
    """Raise SettingsError where something was given that the automatic choice decides.

    `meant` are the settings that were given; `comparing` says that each strategy is tried with
    them, so that only a strategy can't be one of them.
    """
    if settings.budget:
        budget_seconds(settings.budget)
    if settings.strategy != "auto":
        if settings.budget or comparing:
            what = "--try compares all strategies" if comparing else "a budget searches for one"
            reason = f"{what}, and {settings.strategy} is given"
            ways = [{"strategy": "auto"}] if comparing else [{"strategy": "auto"}, {"budget": ""}]
            raise refuse("strategy", reason, *ways)
        return
    what = "a budget" if settings.budget else "strategy auto"
    chosen: tuple[str, ...] = BY_BUDGET if settings.budget else BY_AUTO
    if comparing:
        chosen = ()
    for name in chosen:
        if name in meant:
            own = {"strategy": USED_WITH.get(name, "head")}
            own |= {"budget": ""} if settings.budget else {}
            raise refuse(name, f"{what} chooses it; it can't be given too", own)
    if settings.task == "multi-label" and comparing:
        raise SettingsError(
            "task: --try compares by images of one class each; a multi-label set has any number",
            hint="measure one strategy at a time: --strategy head --cv 5",
        )
    if settings.task == "multi-label" and settings.budget:
        reason = "a budget compares by images of one class each; a multi-label set has any number"
        none = {"budget": ""}
        raise refuse("budget", reason, {**none, "strategy": "auto"}, {**none, "strategy": "head"})
