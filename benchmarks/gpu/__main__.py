"""What a GPU gives: training, export, verification and inference, in at most ten minutes.

    PYTHONPATH=. python -m benchmarks.gpu --wheels wheels --output gpu.json
    PYTHONPATH=. python -m benchmarks.gpu --device cpu        the same with tiny sizes

It runs from a bare checkout and fetches nothing. Each part has a process of its own and its share
of the time; one that fails, is stopped or lacks something does not keep the others from running.
`--wheels` is a folder of wheels that this environment lacks, onnxruntime-gpu before all; they are
used by the parts and not installed here. The exit status is 1 where a part failed or was stopped.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.gpu.job import job_for
from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.processes import Outcome, run_parts
from benchmarks.gpu.tables import part_line, tables, wrapped
from benchmarks.gpu.wheels import WheelsError, install_wheels

RESULT_VERSION = 1


def main(arguments: Sequence[str] | None = None, parts: Sequence[Part] = PARTS) -> int:
    """Run the parts, print what they found, and return the exit status."""
    options = parsed(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rtl-gpu-", ignore_cleanup_errors=True) as folder:
        site = Path(folder) / "site" if options.wheels else None
        wheels: list[str] = []
        try:
            if site is not None:
                wheels = install_wheels(options.wheels, site)
        except WheelsError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        print(wrapped(f"wheels: {', '.join(wheels)}" if wheels else NO_WHEELS), flush=True)
        job = job_for(options.device, Path(folder), data=options.data, weights=options.weights)
        outcomes = []
        left_s = options.limit_s - (time.monotonic() - started)
        for outcome in run_parts(parts, job, limit_s=left_s, site=site):
            print(part_line(outcome), flush=True)
            outcomes.append(outcome)
    seconds = time.monotonic() - started
    print(f"\n{tables(outcomes)}\n\n{verdict(outcomes)} in {seconds:.0f} s")
    if options.output is not None:
        record = {
            "version": RESULT_VERSION,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(sys.argv if arguments is None else arguments),
            "device": options.device,
            "limit_s": options.limit_s,
            "seconds": round(seconds, 1),
            "wheels": wheels,
            "parts": [outcome.record for outcome in outcomes],
        }
        options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(any(outcome.status in ("failed", "stopped") for outcome in outcomes))


NO_WHEELS = "wheels: none given; the parts use the packages of this environment"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    parser.add_argument("--limit-s", type=float, default=600, help="time of all parts together")
    parser.add_argument("--wheels", type=Path, help="folder of wheels that the parts use")
    parser.add_argument("--data", type=Path, help="images to train on; drawn without")
    parser.add_argument("--weights", type=Path, help="weights file to start from; random without")
    return parser.parse_args(arguments)


def verdict(outcomes: Sequence[Outcome]) -> str:
    """Return how many parts there are of each status."""
    statuses = [outcome.status for outcome in outcomes]
    return ", ".join(
        f"{statuses.count(status)} {status}"
        for status in ("done", "skipped", "failed", "stopped")
        if status in statuses
    )


if __name__ == "__main__":
    sys.exit(main())
