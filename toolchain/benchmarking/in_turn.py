"""Models beside another model file that the same benchmark measures, in turn with them.

Between two commands the speed of a machine changes, which is no difference of two files, and on a
shared machine it changes within a second too. So the calls of two files take turns, one by one, and
the ratio is that of neighbours: what both share cancels, and a change is found that two benchmarks
can't tell from the machine's.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from toolchain.backends.run_model import exported_file
from toolchain.benchmarking.comparison import (
    besides_latencies,
    compared_case,
    some_of,
)
from toolchain.benchmarking.comparison_result import SAME_WITHIN, ComparedCase, Comparison
from toolchain.benchmarking.figures.case_name import CaseKey
from toolchain.benchmarking.figures.samples import encode_samples
from toolchain.benchmarking.figures.statistics import percentile_interval
from toolchain.benchmarking.processes.targets import TargetProcess
from toolchain.benchmarking.result import Benchmark
from toolchain.errors import DataError, SettingsError
from toolchain.files import is_folder
from toolchain.progress import ProgressReporter

FEWEST_PAIRS = 6
"""However slow the calls are: with fewer no interval of a median is bounded."""

Sizes = Sequence[tuple[TargetProcess, Sequence[int]]]
"""The open targets, each with its batch sizes."""


class Pair(NamedTuple):
    """A target and the reference in the same case."""

    process: TargetProcess
    reference: TargetProcess
    batch_size: int

    @property
    def case(self) -> CaseKey:
        """That of the target."""
        return self.process.target.case(self.batch_size)


def reference_model(compare: str | os.PathLike[str] | None, *, rescale: bool) -> Path | None:
    """Return the model file that others are put beside; None for the JSON of a benchmark.

    It is the exported file of a run folder. Raises DataError for a run without one, and
    SettingsError where times of another machine are to be rescaled.
    """
    if compare is None or _is_json(Path(compare)):
        return None
    if rescale:
        raise SettingsError(
            f"{compare} is a model, which is measured here: there is nothing to rescale",
            hint="--rescale is for the JSON of a benchmark on another machine",
        )
    return exported_file(compare)


def _is_json(path: Path) -> bool:
    """Return whether a path is that of a benchmark's JSON, by its name or its first character."""
    if path.suffix == ".json":
        return True
    if is_folder(path):
        return False
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(b"{")
    except OSError:
        return False


def pairs_of(sizes: Sizes) -> list[Pair]:
    """Return each case of a file with that of the reference: same provider, threads and batch size.

    torch eager has none. Raises DataError where no file has one.
    """
    files = [(process, size) for process, own in sizes for size in own if not process.target.eager]
    references = {_place(*item): item[0] for item in files if item[0].target.is_reference}
    others = [item for item in files if not item[0].target.is_reference]
    pairs = [
        Pair(process, references[_place(process, size)], size)
        for process, size in others
        if _place(process, size) in references
    ]
    if not pairs:
        reference = next(iter(references.values())).target
        its = some_of(process.target.case(place[-1]) for place, process in references.items())
        theirs = some_of(process.target.case(size) for process, size in others)
        raise DataError(
            f"{reference.name} has no case in common with the others. It: {its}. They: {theirs}",
            hint="files that take one batch size only have to take the same",
        )
    return pairs


def _place(process: TargetProcess, size: int) -> tuple[str, int, bool, int]:
    target = process.target
    return target.provider, target.threads, target.spin, size


def measured_in_turn(
    pairs: Sequence[Pair],
    seconds: float,
    found: Benchmark,
    source: str,
    progress: ProgressReporter,
) -> Comparison:
    """Measure both cases of each pair for `seconds` each, call by call, and compare them.

    `found` is what the benchmark has measured besides, and `source` what the reference was named.
    """
    cases = []
    for pair in progress.track(pairs, f"measuring in turn with {source}", len(pairs)):
        cases.append(case_in_turn(pair.case, list(calls_in_turn(pair, 2 * seconds))))
    compared = {pair.case for pair in pairs}
    references = {pair.reference.target.case(pair.batch_size) for pair in pairs}
    names = {case.target for case in references}
    rows = [row.case for row in found.results if row.case not in compared | references]
    return Comparison(
        before=source,
        in_turn=True,
        cases=cases,
        only_before=[case.described for case in rows if case.target in names],
        only_now=[case.described for case in rows if case.target not in names],
        not_compared=besides_latencies(found, lacks_pauses=True),
        versions=[],
    )


def calls_in_turn(pair: Pair, seconds: float) -> Iterator[tuple[float, float]]:
    """Yield the latencies in ms of the reference and of the target, each first every other time."""
    deadline, number = time.perf_counter() + seconds, 0
    while number < FEWEST_PAIRS or time.perf_counter() < deadline:
        found: dict[TargetProcess, float] = {}
        order = (pair.reference, pair.process)
        for process in order[:: -1 if number % 2 else 1]:
            [found[process]] = process.measure(pair.batch_size, 0.0, fewest=1).latencies_ms
        number += 1
        yield found[pair.reference], found[pair.process]


def case_in_turn(case: CaseKey, calls: Sequence[tuple[float, float]]) -> ComparedCase:
    """Return how a case differs from the reference, from pairs of calls that followed each other.

    The ratio is the median of the pairs', with its distribution-free 95 % interval: what disturbs
    one call of a pair alone makes ratios of any size, which a mean would follow.
    """
    ratios = sorted(now / before for before, now in calls)
    low, high = percentile_interval(ratios, 0.5)
    bounds = (low or 0.0, high or math.inf)
    before, now = zip(*calls, strict=True)
    found = compared_case(case, [before], [now], bounds, same_up_to=1 + SAME_WITHIN)
    return msgspec.structs.replace(
        found,
        ratio=statistics.median(ratios),
        before_samples=encode_samples([before]),
        now_samples=encode_samples([now]),
    )
