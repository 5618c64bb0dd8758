"""The number of processor cores that this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return the number of cores within the affinity mask and the container's quota, at least 1.

    onnxruntime by itself counts the host's physical cores: in a container with a quota of two it
    starts as many threads as the host has cores (microsoft/onnxruntime#29510).
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, cores if quota is None else min(cores, int(quota)))


def cgroup_quota() -> float | None:
    """Return the smallest processor quota, in cores, of the control groups this process is in.

    A group's quota limits the groups inside it too. None where there is no quota.
    """
    quotas = [quota for group in _groups() if (quota := _quota(group)) is not None]
    return min(quotas, default=None)


def _groups() -> Iterator[Path]:
    """Yield the folders of the process's control groups, of versions 2 and 1, and their parents.

    Inside a container the group's path on the host may not exist: the container's own group is
    then the root, which is among the parents.
    """
    for controllers, path in _membership():
        if not controllers:
            roots = [CGROUPS, CGROUPS / "unified"]
        elif "cpu" in controllers.split(","):
            roots = [CGROUPS / "cpu", CGROUPS / controllers]
        else:
            continue
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for root in roots:
            yield from (root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))


def _membership() -> list[tuple[str, str]]:
    """Return (controllers, path of the group) of each hierarchy; version 2 names no controllers."""
    found = [("", "/"), ("cpu", "/")]
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except (OSError, ValueError):
        return found
    for line in lines:
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        found.append((controllers, group))
    return found


def _quota(group: Path) -> float | None:
    """Return the quota of one group in cores; None where it has none."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()[:2]
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        return None if quota == "max" or int(quota) <= 0 else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
