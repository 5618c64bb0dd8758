"""What a benchmark says beside an older one of the same cases."""

from __future__ import annotations

from typing import Literal

import msgspec

from toolchain.benchmarking.figures.case_name import CaseName, pause_words, shown_target
from toolchain.benchmarking.figures.samples import Samples
from toolchain.benchmarking.tables import NO_FIGURE, figure
from toolchain.display import Block, Displayed, Line, Span, Table, Tone

Verdict = Literal["faster", "slower", "cannot tell"]
SAME_WITHIN = 0.03
"""A ratio whose interval reaches within 3 % of 1 is not called faster or slower: two benchmarks of
one file on one machine are as far apart by where its processes lie in memory."""
RESCALED = "rescaled by how fast both multiply matrices, which is a rough comparison"
TONES: dict[Verdict, Tone] = {"faster": "good", "slower": "bad", "cannot tell": "quiet"}


class ComparedCase(CaseName, frozen=True, kw_only=True):
    """A case that both benchmarks measured, of calls that follow each other or after pauses."""

    pause_s: float | None = None
    """Seconds before each call; None where calls follow each other."""
    keep_warm: bool = False
    """Whether the model was called during the pauses too."""
    verdict: Verdict
    before_ms: float
    """Geometric mean of the medians of the rounds, as `now_ms`."""
    rescaled_by: float | None = None
    """What the times before were multiplied by, where they are of another machine."""
    now_ms: float
    ratio: float
    """`now_ms` over `before_ms`, of a model measured in turn the median of pairs of calls: 1.1 is
    10 % slower."""
    ratio_interval: tuple[float, float]
    """At 95 %."""
    rounds_spread: float | None = None
    """Slowest over fastest round of one of both benchmarks, of the one where that is larger: a
    ratio within it is no difference. None for a model that was measured in turn."""
    before_samples: Samples | None = None
    """The calls of a model that was measured in turn, in pairs with those of `now_samples`."""
    now_samples: Samples | None = None

    @property
    def pause_shown(self) -> str:
        """The pause, as tables show it."""
        if self.pause_s is None:
            return NO_FIGURE
        return f"{self.pause_s:g} s{' warm' if self.keep_warm else ''}"

    @property
    def place(self) -> str:
        """Batch size and pause in words."""
        pause = "" if self.pause_s is None else f" {pause_words(self.pause_s, self.keep_warm)}"
        return f"at batch {self.batch_size}{pause}"


class Comparison(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark beside an older one. The fields are described in docs/json.md."""

    before: str
    """The file of the older one, or the model that was measured in turn."""
    in_turn: bool = False
    """Whether it is a model, each of whose calls was measured next to one of another's."""
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
        paused = any(case.pause_s is not None for case in self.cases)
        pause = ("pause",) if paused else ()
        numbers = ("batch", "thr", *pause, "before", "now ms", "ratio", "95 %")
        rows = [
            (
                shown_target(case, self.cases),
                str(case.batch_size),
                case.threads_shown,
                *((case.pause_shown,) if paused else ()),
                f"{'' if case.rescaled_by is None else '≈'}{figure(case.before_ms)}",
                figure(case.now_ms),
                f"{case.ratio:.2f}",
                "–".join(f"{bound:.2f}" for bound in case.ratio_interval),
                Span(case.verdict, TONES[case.verdict]),
            )
            for case in self.cases
        ]
        other = [] if self.other_machine is None else [f"{self.other_machine}; {RESCALED}"]
        unsteady = max((c.rounds_spread or 1.0 for c in self.cases), default=1.0)
        within = f"× {unsteady:.2f}, and a ratio within that is no difference"
        notes = [
            ("the rounds of a case differ by up to ", [within] * (unsteady > 1 + SAME_WITHIN)),
            ("≈: measured on another machine, ", other),
            (f"in {self.before} only: ", self.only_before),
            ("measured now only: ", self.only_now),
            ("not compared: ", self.not_compared),
            ("other versions: ", self.versions),
        ]
        title = f"Beside {self.before}{', measured in turn' if self.in_turn else ''}"
        return [
            Table(("model", *numbers, ""), rows, right=numbers, title=title),
            *(Line(what + "; ".join(names), "unsure") for what, names in notes if names),
        ]
