"""Linear probes as candidates of a search: as runs where a classifier can read their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolchain.runs.selection import Measured, Verdict, measured
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_rules import require_workable
from toolchain.select.comparison import Candidate, against, rank, significant
from toolchain.select.guide import with_chosen
from toolchain.select.probe_sweep import Probe
from toolchain.select.rounds import Trial

PROBE_COSTS = {"last": 0.0, "last-two": 1.0, "all": 2.0}
"""Setting of `head_stages` → what orders its probe by cost: a head that reads more is larger."""
HEAD: dict[str, Any] = {
    "strategy": "head",
    "epochs": 10,
    "optimizer": "adam",
    "lr_head": 3e-3,
    "warmup_epochs": 1,
    "schedule": "constant",
    "augment": "none",
}
"""A probe as a run: a classifier that is fitted in one go, and epochs that go on from it without
its penalty, of which the best one is kept, as of every run. They take a few seconds on kept
features. Measured with three seeds: on hymenoptera the probe has 94.1 % of the validation images
and the best epoch 95.2 %, on food10_64px 70.5 and 71.2 %; on food3 and steel6 they are equal."""


@dataclass(frozen=True)
class ComparedProbes:
    """The probes on features that a classifier can read, and the one that goes on."""

    probes: list[Probe]
    chosen: Probe
    """The last stage's, unless another is shown to be better."""

    @property
    def reason(self) -> str:
        """Why another than the last stage's was chosen, to stand before other reasons; or ''."""
        first = self.probes[0]
        if self.chosen is first:
            return ""
        return f"the probe on {self.chosen.features} is shown to be better than on {first.features}"

    def trial(self, settings: FinetuneSettings, keep: frozenset[str]) -> Trial:
        """Return the chosen probe as a run. The settings in `keep` were given and stay."""
        chosen, taken = with_chosen(settings, {**HEAD, **probe_settings(self.chosen)}, keep)
        return Trial(_name(self.chosen), chosen, taken, 0.0, right=dict(self.chosen.right))

    def rows(self, taken: Trial) -> list[Measured]:
        """Return rows for the others, beside the candidate that was taken in the end."""
        others = [probe for probe in self.probes if probe is not self.chosen]
        right = taken.right
        folds = sorted(right)
        rows = []
        for probe in others:
            own = np.concatenate([probe.right[fold] for fold in folds])
            best = np.concatenate([right[fold] for fold in folds])
            p = against(own, best)
            is_worse = own.sum() < best.sum() and significant([p], len(others) - 1)[0]
            verdict: Verdict = "worse" if is_worse else "tie"
            changes = {**HEAD, **probe_settings(probe)}
            rows.append(_row(_name(probe), probe, verdict, p, changes))
        return rows


def require_trainable(settings: FinetuneSettings, keep: frozenset[str]) -> None:
    """Raise SettingsError where what was given does not fit the epochs of a probe as a run.

    The settings in `keep` were given and stay. No probe is needed: for the time before the images
    are read.
    """
    require_workable(with_chosen(settings, HEAD, keep)[0])


def compared_probes(probes: Sequence[Probe]) -> ComparedProbes:
    """Return which probe to go on from: the cheapest that can't be told from the best."""
    heads = [probe for probe in probes if probe.head_stages is not None]
    candidates = [
        Candidate(probe.features, probe.all_right, PROBE_COSTS[probe.head_stages], {})
        for probe in heads
        if probe.head_stages is not None
    ]
    name = rank(candidates).chosen.name
    return ComparedProbes(heads, next(probe for probe in heads if probe.features == name))


def probe_settings(probe: Probe) -> dict[str, Any]:
    """Return the settings of a classifier that begins as this probe, and reads what it reads."""
    return {
        "head_stages": probe.head_stages,
        "head_start": "probe",
        "probe_l2": probe.l2,
        "probe_scaling": probe.scaling,
    }


def reference_rows(probes: Sequence[Probe]) -> list[Measured]:
    """Return rows for the probes whose features no classifier reads, for comparison."""
    first = probes[0].all_right
    return [
        _row(
            f"probe on {probe.features}", probe, "reference", against(probe.all_right, first), None
        )
        for probe in probes
        if probe.head_stages is None
    ]


def _row(
    name: str, probe: Probe, verdict: Verdict, p: float, changes: dict[str, Any] | None
) -> Measured:
    right = probe.all_right
    return measured(
        name,
        len(right),
        int(right.sum()),
        verdict,
        p=p,
        seconds=probe.seconds,
        settings=changes or {},
    )


def _name(probe: Probe) -> str:
    of_several = f" on {probe.features}" if probe.head_stages != "last" else ""
    return f"head{of_several}, from the probe"
