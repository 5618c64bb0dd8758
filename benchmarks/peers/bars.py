"""How far rtl is ahead of each peer, by the bars that it is meant to pass."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.peers.rows import Row, measured

HEAD = "rtl head"
"""What runs beside each peer."""
POINT = 0.01
"""rtl's accuracy may be this much below a peer's best."""
TRAINING = {"fastai": 10.0, "Ultralytics": 15.0}
FOLDER = {"Ultralytics": 1.5, "Optimum": 1.5}
START = {"Ultralytics": 5.0, "Optimum": 5.0}


class Bar(NamedTuple):
    """A bar, what was reached, and the two that were compared."""

    text: str
    least: float
    reached: float | None
    """Times as fast; None where nothing was measured, 0 where no run of rtl is as accurate."""
    between: str

    @property
    def verdict(self) -> str:
        """`met`, `missed` or `not measured`."""
        if self.reached is None:
            return "not measured"
        return "met" if self.reached >= self.least else "missed"


class Case(NamedTuple):
    """A way to train for a number of epochs: medians over its runs."""

    who: str
    epochs: int
    seconds: float
    accuracy: float


def training_cases(rows: Iterable[Row]) -> list[Case]:
    """Return each way to train and number of epochs."""
    groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in measured(rows, "train"):
        groups[row["who"], row["epochs"]].append(row)
    return [
        Case(
            who,
            epochs,
            statistics.median(row["seconds"] for row in found),
            statistics.mean(_of_each_seed(found).values()),
        )
        for (who, epochs), found in groups.items()
    ]


def _of_each_seed(rows: Iterable[Row]) -> dict[int, float]:
    """Return seed → accuracy; the same seed, run again, counts once."""
    return {row["seed"]: row["accuracy"] for row in rows}


def training_bar(rows: list[Row], peer: str, least: float) -> Bar:
    """Return how much sooner rtl has what the peer reaches at best, up to a point below.

    Both times are those of the shortest run that is within that point of the peer's best.
    """
    cases = training_cases(rows)
    peers = [case for case in cases if case.who.startswith(peer)]
    text = f"training, to a point below the best of {peer}"
    if not peers:
        return Bar(text, least, None, "not measured")
    goal = max(case.accuracy for case in peers) - POINT
    slow = min((c for c in peers if c.accuracy >= goal), key=lambda case: case.seconds)
    able = [c for c in cases if c.who.startswith("rtl") and c.accuracy >= goal]
    if not able:
        return Bar(text, least, 0.0, f"no run of rtl reaches {goal:.1%}".replace("%", " %"))
    quick = min(able, key=lambda case: case.seconds)
    between = f"{quick.who}, {quick.seconds:.1f} s, beside {slow.who} ({slow.epochs} epochs), "
    between += f"{slow.seconds:.1f} s"
    beside = paired(rows, slow.who, slow.epochs) if quick.who == HEAD else None
    return Bar(text, least, beside or slow.seconds / quick.seconds, between)


def paired(rows: Iterable[Row], who: str, epochs: int) -> float | None:
    """Return the median of a trainer's seconds over those of rtl's head beside it, or None."""
    pairs: dict[tuple[str, int], dict[str, Row]] = defaultdict(dict)
    for row in measured(rows, "train"):
        pairs[row["run"], row["pair"]][row["who"]] = row
    found = [
        pair[who]["seconds"] / pair[HEAD]["seconds"]
        for pair in pairs.values()
        if who in pair and HEAD in pair and pair[who]["epochs"] == epochs
    ]
    return statistics.median(found) if found else None


def ratios(rows: Iterable[Row], subject: str, first: str) -> dict[str, float]:
    """Return who → median over rounds of its seconds over those of `first` in the same round."""
    rounds: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for row in measured(rows, subject):
        rounds[row["run"], row["round"]][row["who"]] = row.get("seconds") or row["median_ms"]
    found: dict[str, list[float]] = defaultdict(list)
    for times in rounds.values():
        for who, seconds in times.items():
            if first in times:
                found[who].append(seconds / times[first])
    return {who: statistics.median(values) for who, values in found.items()}


def labelling_bar(
    rows: list[Row], subject: str, what: str, peer: str, first: str, least: float
) -> Bar:
    """Return how much faster `first` is than the fastest form of a peer."""
    text = f"{what}, beside {peer}"
    found = {w: r for w, r in ratios(rows, subject, first).items() if w.startswith(peer)}
    if not found:
        return Bar(text, least, None, "not measured")
    who = min(found, key=lambda name: found[name])
    return Bar(text, least, found[who], f"{first} beside {who}, median of rounds")


def all_bars(rows: list[Row], first: dict[str, str]) -> list[Bar]:
    """Return every bar; `first` has whom peers are compared with, for each subject."""
    return [
        *(training_bar(rows, peer, least) for peer, least in TRAINING.items()),
        *(
            labelling_bar(rows, "predict", "a folder of 200 photographs", peer, first["predict"], b)
            for peer, b in FOLDER.items()
        ),
        *(
            labelling_bar(rows, "start", "the first label of a process", peer, first["start"], b)
            for peer, b in START.items()
        ),
    ]
