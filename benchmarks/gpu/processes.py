"""Runs the parts one after the other, each in a process of its own with a limit on its time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.gpu.job import Job, Row
from benchmarks.gpu.parts import Part

ROOT = Path(__file__).resolve().parent.parent.parent
LOG_LINES = 30
"""Lines at the end of the log of a failed part that are kept."""


@dataclass(frozen=True)
class Outcome:
    """What became of a part."""

    part: Part
    status: str
    """done; skipped, as something is missing; failed; or stopped, as its time was over."""
    reason: str
    """Why it was skipped, failed or was stopped, in one line."""
    seconds: float
    allowed_s: float
    rows: list[Row] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    """The end of what it printed, where it failed or was stopped."""

    @property
    def record(self) -> Row:
        """The same for the JSON."""
        return {
            "name": self.part.name,
            "table": self.part.table,
            "status": self.status,
            "reason": self.reason,
            "seconds": round(self.seconds, 2),
            "allowed_s": round(self.allowed_s, 1),
            "rows": self.rows,
            "log": self.log,
        }


def run_parts(
    parts: Sequence[Part], job: Job, *, limit_s: float, site: Path | None = None
) -> Iterator[Outcome]:
    """Run each part and yield its outcome; none keeps the others from running.

    A part may take its share of the time that is left, so that all end within `limit_s`. `site` is
    a folder of packages that come before those of this environment.
    """
    folder, ends = Path(job.folder), time.monotonic() + limit_s
    job.write(folder / "job.json")
    for number, part in enumerate(parts):
        left = max(0.0, ends - time.monotonic())
        share = part.share / sum(later.share for later in parts[number:])
        yield run_part(part, folder, number, allowed_s=left * share, site=site)


def run_part(
    part: Part, folder: Path, number: int, *, allowed_s: float, site: Path | None = None
) -> Outcome:
    """Run one part in a process of its own and return its outcome."""
    started = time.monotonic()
    (folder / f"{number}.part.json").write_text(json.dumps(asdict(part)), encoding="utf-8")
    log = folder / f"{number}.log"
    command = [sys.executable, "-m", "benchmarks.gpu.part", str(folder), str(number)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment(folder, site),
            start_new_session=True,
        )
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(allowed_s)
    finally:
        in_time = process.poll() is not None
        end_group(process)
    status, reason = "stopped", f"it took more than its {allowed_s:.0f} s"
    if in_time:
        status, reason = ended(folder / f"{number}.outcome.json", process.returncode)
    rows = read_rows(folder / f"{number}.rows.jsonl")
    text = log.read_text(encoding="utf-8", errors="replace")
    shown = text.splitlines()[-LOG_LINES:] if status in ("failed", "stopped") else []
    return Outcome(part, status, reason, time.monotonic() - started, allowed_s, rows, shown)


def environment(folder: Path, site: Path | None) -> dict[str, str]:
    """Return the environment of a part: its packages, this repository, and caches of its own."""
    before = os.environ.get("PYTHONPATH")
    paths = [str(site)] if site else []
    return {
        "OMP_WAIT_POLICY": "passive",  # as the command `rtl` sets it
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*paths, str(ROOT), *([before] if before else [])]),
        "PYTHONUNBUFFERED": "1",
        "RTL_CACHE_DIR": str(folder / "cache"),
        # A compilation that an earlier run has kept would be measured as if it took no time.
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
    }


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a part's process and those that it started, such as workers that read images."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ended(outcome: Path, returncode: int) -> tuple[str, str]:
    """Return (status, reason) of a process that has ended by itself."""
    try:
        found = json.loads(outcome.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if returncode < 0:
            return "failed", f"its process was killed: {signal.strsignal(-returncode)}"
        return "failed", f"its process ended with exit status {returncode}"
    return str(found["status"]), str(found["reason"])


def read_rows(path: Path) -> list[Row]:
    """Return the rows that a part has written; one that is cut off is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]
