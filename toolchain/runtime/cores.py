"""How many processors this process may really use."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


def usable_cores() -> int:
    """Give the number of cores within the affinity mask and the container's quota, at least 1.

    onnxruntime by itself counts the host's physical cores, and in a container with a quota of two
    it starts a thread for each of them (microsoft/onnxruntime#29510).
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, cores if quota is None else min(cores, int(quota)))


def cgroup_quota() -> float | None:
    """Give the container's processor quota in cores, None where there is none."""
    try:
        if CGROUP_V2.exists():
            quota, period = CGROUP_V2.read_text().split()[:2]
        else:
            quota = (CGROUP_V1 / "cpu.cfs_quota_us").read_text()
            period = (CGROUP_V1 / "cpu.cfs_period_us").read_text()
        return None if quota == "max" or int(quota) <= 0 else int(quota) / int(period)
    except (OSError, ValueError):
        return None
