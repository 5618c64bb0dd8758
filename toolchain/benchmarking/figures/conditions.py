"""What the machine did while a round was measured: other work, throttling, energy.

All is read from files of Linux before and after the round, and costs less than a millisecond. What
a system does not tell is None.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
SYS = Path("/sys")
TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
IDLE = (3, 4)
"""Columns of /proc/stat: idle, and waiting for a disk."""
GUEST = 8
"""The first column of time that is in another column already."""
WORK = bytes(1 << 17)
"""What is hashed to see at which speed the processor runs."""
WORK_REPEATS = 3


@dataclass(frozen=True)
class Counters:
    """Counts since the machine has started."""

    at_s: float
    busy_s: float | None
    """Time of the cores that this process may use, in all programs and in other machines."""
    quota_s: float | None
    """Time for which a limit of the container has held its processes back."""
    too_hot: int | None
    """How often a core has been slowed because of its heat."""
    energy_j: float | None
    """Of the processors, by RAPL."""


@dataclass(frozen=True)
class Conditions:
    """What happened during one round, or several."""

    seconds: float
    others_s: float | None
    """Time that cores worked on anything else than the target."""
    quota_s: float | None
    too_hot: int | None
    energy_j: float | None
    work_ms: tuple[float, ...]
    """Processor time of the same small work after each round."""

    def __add__(self, other: Conditions) -> Conditions:
        return Conditions(
            self.seconds + other.seconds,
            _sum(self.others_s, other.others_s),
            _sum(self.quota_s, other.quota_s),
            None if self.too_hot is None or other.too_hot is None else self.too_hot + other.too_hot,
            _sum(self.energy_j, other.energy_j),
            self.work_ms + other.work_ms,
        )


def read_counters() -> Counters:
    """Return the counters of this moment."""
    return Counters(
        time.perf_counter(), _busy_s(), _quota_s(), _times_too_hot(), processor_energy_j()
    )


def between(before: Counters, after: Counters, target_s: float, work_ms: float) -> Conditions:
    """Return what happened between two readings, in which the target used `target_s` of cores."""
    busy_s = _difference(before.busy_s, after.busy_s)
    energy_j = _difference(before.energy_j, after.energy_j)
    return Conditions(
        seconds=after.at_s - before.at_s,
        others_s=None if busy_s is None else max(0.0, busy_s - target_s),
        quota_s=_difference(before.quota_s, after.quota_s),
        too_hot=None
        if before.too_hot is None or after.too_hot is None
        else after.too_hot - before.too_hot,
        # A counter that has begun anew says nothing.
        energy_j=None if energy_j is None or energy_j < 0 else energy_j,
        work_ms=(work_ms,),
    )


def small_work_ms() -> float:
    """Return the processor time of a small work that is the same always: its least of three."""
    times = []
    for _ in range(WORK_REPEATS):
        started = time.thread_time_ns()
        hashlib.sha256(WORK).digest()
        times.append(time.thread_time_ns() - started)
    return min(times) / 1e6


def processor_energy_j() -> float | None:
    """Return the energy of all processors since some moment; None where it can't be read."""
    zones = [
        *SYS.glob("class/powercap/intel-rapl:[0-9]*"),
        *SYS.glob("class/powercap/amd_energy:[0-9]*"),
    ]
    packages = [zone for zone in zones if zone.name.count(":") == 1]
    try:
        return sum(int((zone / "energy_uj").read_text()) for zone in packages) / 1e6 or None
    except (OSError, ValueError):
        return None


def why_no_energy() -> str | None:
    """Return why the energy can't be read; None where it can."""
    if processor_energy_j() is not None:
        return None
    counters = list(SYS.glob("class/powercap/*/energy_uj"))
    return f"{counters[0]} can't be read" if counters else "this machine has no RAPL counters"


def _busy_s() -> float | None:
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    names = {f"cpu{number}" for number in cores}
    try:
        rows = [line.split() for line in (PROC / "stat").read_text().splitlines()]
        ticks = [list(map(int, row[1 : GUEST + 1])) for row in rows if row[0] in names]
    except (OSError, ValueError, IndexError):
        return None
    if not ticks:
        return None
    return sum(sum(row) - sum(row[i] for i in IDLE) for row in ticks) / TICKS_PER_S


def _quota_s() -> float | None:
    for file, key, unit in (
        ("fs/cgroup/cpu.stat", "throttled_usec", 1e6),
        ("fs/cgroup/cpu/cpu.stat", "throttled_time", 1e9),
    ):
        with contextlib.suppress(OSError, ValueError):
            pairs = dict(line.split() for line in (SYS / file).read_text().splitlines())
            if key in pairs:
                return int(pairs[key]) / unit
    return None


def _times_too_hot() -> int | None:
    files = SYS.glob("devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = []
    for file in files:
        with contextlib.suppress(OSError, ValueError):
            counts.append(int(file.read_text()))
    return sum(counts) if counts else None


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second
