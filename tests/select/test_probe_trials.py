"""Probes as candidates: the cheapest of a tie goes on, a better one that reads more stages wins."""

from __future__ import annotations

import numpy as np
import pytest

from toolchain.errors import SettingsError
from toolchain.runs.settings_file import read_settings
from toolchain.runtime.card import HeadStages
from toolchain.select.probe_sweep import Probe
from toolchain.select.probe_trials import (
    ComparedProbes,
    compared_probes,
    reference_rows,
    require_trainable,
)
from toolchain.select.rounds import Trial

IMAGES = 20
SETTINGS = read_settings(None, {"data": "photos", "budget": "5m"})


def probe(features: str, head_stages: HeadStages | None, errors: int) -> Probe:
    """Return a probe that is wrong on the first images of each of five folds."""
    right = {fold: np.arange(IMAGES) >= errors for fold in range(5)}
    return Probe(features, 0.1, 0.5, 0.3, right, 1.0, head_stages)


def probes(last: int, last_two: int, every: int) -> list[Probe]:
    return [
        probe("layer4", "last", last),
        probe("layer3 and layer4", "last-two", last_two),
        probe("all four stages", "all", every),
        probe("layer3", None, 9),
    ]


def taken(compared: ComparedProbes) -> Trial:
    return compared.trial(SETTINGS, frozenset())


def test_of_a_tie_the_last_stage_goes_on() -> None:
    compared = compared_probes(probes(4, 3, 4))
    assert compared.chosen.head_stages == "last"
    assert compared.reason == ""
    trial = taken(compared)
    assert (trial.name, trial.settings.head_stages) == ("head, from the probe", "last")
    rows = compared.rows(trial)
    assert [(row.name, row.verdict) for row in rows] == [
        ("head on layer3 and layer4, from the probe", "tie"),
        ("head on all four stages, from the probe", "tie"),
    ]
    assert rows[1].settings["head_stages"] == "all"


def test_first_epochs_that_leave_none_at_the_full_size_are_refused() -> None:
    given = {"start_size": 160, "start_size_epochs": 12}
    settings = read_settings(None, {"data": "photos", "budget": "5m", **given})
    with pytest.raises(SettingsError, match="12 of 10 leave none"):
        require_trainable(settings, frozenset(given))


def test_of_two_that_are_better_and_a_tie_the_one_that_reads_less_goes_on() -> None:
    assert compared_probes(probes(12, 3, 2)).chosen.head_stages == "last-two"


def test_where_more_stages_are_shown_to_be_better_they_are_what_is_trained() -> None:
    compared = compared_probes(probes(8, 8, 1))
    assert compared.reason == ("the probe on all four stages is shown to be better than on layer4")
    trial = taken(compared)
    assert trial.settings.head_stages == "all"
    assert trial.settings.head_start == "probe"
    assert {row.verdict for row in compared.rows(trial)} == {"worse"}


def test_the_others_are_judged_beside_what_was_taken_in_the_end() -> None:
    compared = compared_probes(probes(6, 6, 6))
    tail = Trial("layer4 on", SETTINGS, {}, 1.0, right={0: np.ones(IMAGES, bool)})
    assert {row.verdict for row in compared.rows(tail)} == {"tie"}, "one fold shows little"
    tail.right = {fold: np.ones(IMAGES, bool) for fold in range(5)}
    assert {row.verdict for row in compared.rows(tail)} == {"worse"}


def test_features_that_no_classifier_reads_are_for_comparison() -> None:
    [row] = reference_rows(probes(4, 3, 4))
    assert (row.name, row.verdict, row.settings) == ("probe on layer3", "reference", {})
    assert row.p == pytest.approx(0.0, abs=1e-3)
