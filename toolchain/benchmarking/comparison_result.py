"""What a benchmark says beside an older one of the same cases."""

from __future__ import annotations

from typing import Literal

import msgspec

from toolchain.benchmarking.figures.case_name import CaseName
from toolchain.benchmarking.tables import figure
from toolchain.display import Block, Displayed, Line, Span, Table, Tone

Verdict = Literal["faster", "slower", "cannot tell"]
SAME_WITHIN = 0.03
"""A ratio whose interval reaches within 3 % of 1 is not called faster or slower: two benchmarks of
one file on one machine are as far apart by where its processes lie in memory."""
RESCALED = "rescaled by how fast both multiply matrices, which is a rough comparison"
TONES: dict[Verdict, Tone] = {"faster": "good", "slower": "bad", "cannot tell": "quiet"}


class ComparedCase(CaseName, frozen=True, kw_only=True):
    """A case that both benchmarks measured."""

    verdict: Verdict
    before_ms: float
    """Geometric mean of the medians of the rounds, as `now_ms`."""
    rescaled_by: float | None = None
    """What the times before were multiplied by, where they are of another machine."""
    now_ms: float
    ratio: float
    """`now_ms` over `before_ms`: 1.1 is 10 % slower."""
    ratio_interval: tuple[float, float]
    """At 95 %."""
    rounds_spread: float
    """Slowest over fastest round of one of both benchmarks, of the one where that is larger: a
    ratio within it is no difference."""


class Comparison(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark beside an older one. The fields are described in docs/json.md."""

    before: str
    """The file of the older one."""
    other_machine: str | None = None
    """The machine of the older one, where that is another and its times are rescaled."""
    cases: list[ComparedCase]
    only_before: list[str]
    only_now: list[str]
    not_compared: list[str] = []
    """What was measured now besides the latencies, which alone are compared."""
    versions: list[str]
    """Packages whose versions differ, with both."""

    def slower_by(self, share: float) -> list[ComparedCase]:
        """Return the cases that are slower, and by at least this share."""
        return [c for c in self.cases if c.verdict == "slower" and c.ratio >= 1 + share]

    def blocks(self) -> list[Block]:
        """Return a row for each case, and what can't be compared."""
        numbers = ("batch", "thr", "before", "now ms", "ratio", "95 %")
        rows = [
            (
                case.target,
                str(case.batch_size),
                case.threads_shown,
                f"{'' if case.rescaled_by is None else '≈'}{figure(case.before_ms)}",
                figure(case.now_ms),
                f"{case.ratio:.2f}",
                "–".join(f"{bound:.2f}" for bound in case.ratio_interval),
                Span(case.verdict, TONES[case.verdict]),
            )
            for case in self.cases
        ]
        other = [] if self.other_machine is None else [f"{self.other_machine}; {RESCALED}"]
        unsteady = max((c.rounds_spread for c in self.cases), default=1.0)
        within = f"× {unsteady:.2f}, and a ratio within that is no difference"
        notes = [
            ("the rounds of a case differ by up to ", [within] * (unsteady > 1 + SAME_WITHIN)),
            ("≈: measured on another machine, ", other),
            (f"in {self.before} only: ", self.only_before),
            ("measured now only: ", self.only_now),
            ("not compared: ", self.not_compared),
            ("other versions: ", self.versions),
        ]
        return [
            Table(("model", *numbers, ""), rows, right=numbers, title=f"Beside {self.before}"),
            *(Line(what + ", ".join(names), "unsure") for what, names in notes if names),
        ]
