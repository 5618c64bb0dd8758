"""Models beside another model file that the same benchmark measures, in turn with them.

Between two commands the speed of a machine changes, which is no difference of two files. Here each
round of a case stands beside the round of the other file that was measured next to it, and what
both share cancels. So a change is found that two commands can't tell from the machine's.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from toolchain.backends.run_model import exported_file
from toolchain.benchmarking.comparison import (
    Timed,
    besides_latencies,
    compared_case,
    log_interval,
    rounds_of,
    some_of,
    timed_rows,
)
from toolchain.benchmarking.comparison_result import SAME_WITHIN, ComparedCase, Comparison
from toolchain.benchmarking.figures.case_name import CaseKey
from toolchain.benchmarking.processes.targets import Target
from toolchain.benchmarking.result import Benchmark
from toolchain.errors import DataError, SettingsError
from toolchain.files import is_folder


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


def require_shared_case(cases: Sequence[CaseKey], targets: Sequence[Target]) -> None:
    """Raise DataError where no file has a case in common with the reference among the targets."""
    [name], others = _names(targets)
    places = {case.without_target for case in cases if case.target == name}
    theirs = [case for case in cases if case.target in others]
    if not any(case.without_target in places for case in theirs):
        its = some_of(case for case in cases if case.target == name)
        raise DataError(
            f"{name} has no case in common with the others. It: {its}. They: {some_of(theirs)}",
            hint="files that take one batch size only have to take the same",
        )


def compared_in_turn(found: Benchmark, targets: Sequence[Target], source: str) -> Comparison:
    """Return how the files of a benchmark differ from the reference among its targets.

    `source` is what the reference was named as. torch eager is not compared.
    """
    [name], names = _names(targets)
    rows = timed_rows(found).values()
    reference = {row.key.without_target: row for row in rows if row.target == name}
    others = [row for row in rows if row.target in names]
    places = {row.key.without_target for row in others}
    both = [row for row in others if row.key.without_target in reference]
    return Comparison(
        before=source,
        in_turn=True,
        cases=[_case_in_turn(reference[row.key.without_target], row) for row in both],
        only_before=[row.key.described for key, row in reference.items() if key not in places],
        only_now=[row.key.described for row in others if row not in both],
        not_compared=besides_latencies(found),
        versions=[],
    )


def paired_ratio_interval(
    before: Sequence[Sequence[float]], now: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Return the 95 % interval of the ratio of latencies, now over before, of paired rounds.

    Student's, of the differences of the logarithms of the medians of rounds that were measured next
    to each other. It bounds nothing with one round, or where they are not as many.
    """
    if len(before) != len(now) or len(now) < 2:
        return 0.0, math.inf
    differences = [
        math.log(statistics.median(new) / statistics.median(old))
        for old, new in zip(before, now, strict=True)
    ]
    error = math.sqrt(statistics.variance(differences) / len(differences))
    return log_interval(statistics.fmean(differences), error, len(differences) - 1)


def _names(targets: Sequence[Target]) -> tuple[set[str], set[str]]:
    """Return the name of the reference, and those of the files that are put beside it."""
    reference = {target.name for target in targets if target.is_reference}
    files = {target.name for target in targets if not target.eager}
    return reference, files - reference


def _case_in_turn(before: Timed, now: Timed) -> ComparedCase:
    old, new = rounds_of(before), rounds_of(now)
    bounds = paired_ratio_interval(old, new)
    return compared_case(now, old, new, bounds, same_up_to=1 + SAME_WITHIN)
