"""The scenarios of MLPerf inference, and what one run of LoadGen is asked to do.

The rules are those of MLCommons (inference_policies, "Scenarios" and "Number of queries").
"""

from __future__ import annotations

from typing import Literal

import msgspec

from toolchain.errors import SettingsError

Scenario = Literal["single-stream", "multi-stream", "offline", "server"]

PERCENTILES = {"single-stream": 90, "multi-stream": 99, "server": 99}
"""The percentile of the latency that counts; the offline scenario has none."""
SAMPLES_PER_QUERY = {"single-stream": 1, "multi-stream": 8, "server": 1}
"""In the offline scenario all samples are one query."""
OFFICIAL_SECONDS = 600
"""How long a run takes at least that is submitted."""
OFFICIAL_QUERIES = {
    "single-stream": 24_576,
    "multi-stream": 270_336,
    "server": 270_336,
    "offline": 24_576,
}
"""The queries that bound the percentile of a submission; of the offline scenario, the samples.

LoadGen's early stopping accepts fewer, with a percentile that is a little higher.
"""
LATENCY_BOUND_S = 0.05
"""Of the server scenario, unless another one is given."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run of LoadGen."""

    scenario: Scenario
    seconds: float
    """How long queries are issued, at least."""
    least_queries: int = 1
    expected_latency_s: float = 1e-3
    """Of a query, rather too short: LoadGen prepares as many queries as then fit into the time."""
    rate_per_s: float = 1.0
    """Server: queries a second. Offline: the samples a second that are expected."""
    latency_bound_s: float = LATENCY_BOUND_S
    batch_sizes: tuple[int, ...] = (1,)
    """Samples that are computed at once: the most that wait. A file for one size has its own."""
    number: int = 0
    """Of the run: each has seeds of its own."""


class LoadgenRun(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What LoadGen says of a run."""

    valid: bool
    reasons: list[str]
    """Why it is not valid."""
    queries: int
    samples: int
    latency_ms: float | None
    """At the percentile of the scenario, of a query; None for offline."""
    early_stopping_ms: float | None
    """That percentile with the allowance of early stopping for so few queries."""
    samples_per_s: float
    bound_kept: bool = True
    """Server: whether the percentile is within the bound."""
    long_enough: bool = True
    """Whether the queries were enough for the time."""


def checked_bound(scenarios: tuple[str, ...], latency_bound_s: float | None) -> float:
    """Return the bound of the server scenario; SettingsError where it is given without that."""
    if latency_bound_s is not None and "server" not in scenarios:
        raise SettingsError(
            "latency_bound: it is the bound of the scenario server, which is not measured",
            hint="add --scenario server",
        )
    return LATENCY_BOUND_S if latency_bound_s is None else latency_bound_s
