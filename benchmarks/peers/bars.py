"""How far rtl is ahead of each peer, by the bars that it is meant to pass."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.peers.rows import Row, measured

HEAD = "rtl head"
"""What runs beside each peer."""
MOST_EPOCHS = 20
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
    used: float | None = None
    """Times the processor time: what a busy machine disturbs least."""

    @property
    def verdict(self) -> str:
        """`met`, `missed` or `not measured`."""
        if self.reached is None:
            return "not measured"
        return "met" if self.reached >= self.least else "missed"


class Case(NamedTuple):
    """A way to train for a number of epochs: medians over its runs, the mean over its seeds."""

    who: str
    epochs: int
    of: int
    """Epochs that its runs had: more than `epochs` where it is a point on their way."""
    seconds: float
    processor_seconds: float
    accuracy: float
    seeds: int
    beside: float | None
    """Times the seconds of rtl's head that ran beside it."""


class _Point(NamedTuple):
    """A run of a trainer after some epochs."""

    seed: int
    seconds: float
    processor_seconds: float
    accuracy: float
    beside: float | None


def training_cases(rows: Iterable[Row], *, on_the_way: bool = False) -> list[Case]:
    """Return each way to train and number of epochs.

    With `on_the_way` also each epoch of those runs that tell their accuracy, as if they had ended
    there with nothing left to do: this favours the peer.
    """
    rows = measured(rows, "train")
    heads = {(row["run"], row["pair"]): row["seconds"] for row in rows if row["who"] == HEAD}
    groups: dict[tuple[str, int, int], list[_Point]] = defaultdict(list)
    for row in rows:
        head = heads.get((row["run"], row["pair"]))
        curve = enumerate(row["curve"][:-1] if on_the_way else [], start=1)
        points = [(epochs, seconds, accuracy) for epochs, (seconds, accuracy) in curve]
        for epochs, seconds, accuracy in [
            *points,
            (row["epochs"], row["seconds"], row["accuracy"]),
        ]:
            beside = seconds / head if head else None
            used = row["processor_seconds"] * seconds / row["seconds"]
            point = _Point(row["seed"], seconds, used, accuracy, beside)
            groups[row["who"], epochs, row["epochs"]].append(point)
    return [_case(*key, found) for key, found in groups.items()]


def _case(who: str, epochs: int, of: int, points: list[_Point]) -> Case:
    # The same seed, run again, counts once in the accuracy.
    accuracies = {point.seed: point.accuracy for point in points}
    beside = [point.beside for point in points if point.beside is not None]
    return Case(
        who,
        epochs,
        of,
        statistics.median(point.seconds for point in points),
        statistics.median(point.processor_seconds for point in points),
        statistics.mean(accuracies.values()),
        len(accuracies),
        statistics.median(beside) if beside else None,
    )


def training_bar(rows: list[Row], peer: str, least: float) -> Bar:
    """Return how much sooner rtl has what the peer reaches at best, up to a point below.

    Both times are those of the shortest run that is within that point of the peer's best; the
    peer's runs may end after any of their epochs, up to MOST_EPOCHS.
    """
    cases = training_cases(rows)
    points = training_cases(rows, on_the_way=True)
    peers = [c for c in points if c.who.startswith(peer) and c.epochs <= MOST_EPOCHS]
    text = f"training, to a point below the best of {peer}"
    if not peers:
        return Bar(text, least, None, "not measured")
    goal = max(case.accuracy for case in peers) - POINT
    text += f" (measured up to {max(case.epochs for case in peers)} epochs)"
    slow = min((c for c in peers if c.accuracy >= goal), key=lambda case: case.seconds)
    able = [c for c in cases if c.who.startswith("rtl") and c.accuracy >= goal]
    if not able:
        return Bar(text, least, 0.0, f"no run of rtl reaches {goal:.1%}")
    quick = min(able, key=lambda case: case.seconds)
    after = f"{slow.epochs} epochs" if slow.epochs == slow.of else f"{slow.epochs} of {slow.of}"
    between = f"to {goal:.1%}: {quick.who}, {quick.seconds:.1f} s, beside {slow.who} ({after}), "
    between += f"{slow.seconds:.1f} s"
    beside = slow.beside if quick.who == HEAD else None
    reached = beside or slow.seconds / quick.seconds
    return Bar(text, least, reached, between, slow.processor_seconds / quick.processor_seconds)


def ratios(
    rows: Iterable[Row], subject: str, first: str, figure: str = "seconds"
) -> dict[str, float]:
    """Return who → median over rounds of its figure over that of `first` in the same round."""
    rounds: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for row in measured(rows, subject):
        rounds[row["run"], row["round"]][row["who"]] = row[figure]
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
    used = ratios(rows, subject, first, "processor_seconds")[who]
    return Bar(text, least, found[who], f"{first} beside {who}, median of rounds", used)


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
