"""The number of usable cores: the affinity mask, limited by the container's quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolchain.runtime import cores
from toolchain.runtime.cores import cgroup_quota, usable_cores


@pytest.fixture(autouse=True)
def no_cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight cores, and no control group until a test writes one."""
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write_v1(group: Path, quota: str, period: str = "100000\n") -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "cpu.cfs_quota_us").write_text(quota)
    (group / "cpu.cfs_period_us").write_text(period)


def write_v2(group: Path, content: str) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "cpu.max").write_text(content)


@pytest.mark.parametrize(
    ("content", "quota", "usable"),
    [
        ("200000 100000\n", 2.0, 2),
        ("250000 100000\n", 2.5, 2),
        ("50000 100000\n", 0.5, 1),
        ("1600000 100000\n", 16.0, 8),
        ("max 100000\n", None, 8),
        ("200000 0\n", None, 8),
        ("", None, 8),
        ("unheard of\n", None, 8),
    ],
)
def test_quota_of_cgroup_v2_bounds_the_cores(
    content: str, quota: float | None, usable: int, tmp_path: Path
) -> None:
    write_v2(tmp_path, content)
    assert cgroup_quota() == quota
    assert usable_cores() == usable


@pytest.mark.parametrize(
    ("content", "quota", "usable"),
    [("300000\n", 3.0, 3), ("150000\n", 1.5, 1), ("10000\n", 0.1, 1), ("-1\n", None, 8)],
)
def test_quota_of_cgroup_v1_bounds_the_cores(
    content: str, quota: float | None, usable: int, tmp_path: Path
) -> None:
    write_v1(tmp_path / "cpu", content)
    assert cgroup_quota() == quota
    assert usable_cores() == usable


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("quotas", "usable"),
    [
        ({"user.slice/app.service": 3}, 3),
        ({"user.slice": 2}, 2),
        ({"user.slice": 2, "user.slice/app.service": 5}, 2),
        ({"": 6, "user.slice": 4, "user.slice/app.service": 5}, 4),
        ({"user.slice/app.service": None, "": 7}, 7),
        ({"system.slice": 1}, 8),
    ],
    ids=["own", "parent's", "parent's is smaller", "in the middle", "none of its own", "another's"],
)
def test_smallest_quota_of_a_group_and_its_parents_is_used(
    quotas: dict[str, int | None], usable: int, version: int, tmp_path: Path
) -> None:
    path = "/user.slice/app.service"
    (tmp_path / "self").write_text(
        f"0::{path}\n" if version == 2 else f"5:memory:/elsewhere\n3:cpu,cpuacct:{path}\n0::/\n"
    )
    for group, quota in quotas.items():
        if version == 2:
            write_v2(tmp_path / group, "max 100000" if quota is None else f"{quota}00000 100000")
        else:
            number = "-1" if quota is None else f"{quota}00000"
            write_v1(tmp_path / "cpu,cpuacct" / group, number)
    assert usable_cores() == usable


@pytest.mark.parametrize("path", ["/docker/4f1d", "/../4f1d", ""])
def test_quota_of_the_root_is_used_where_the_own_path_does_not_exist(
    path: str, tmp_path: Path
) -> None:
    (tmp_path / "self").write_text(f"0::{path}\n")
    write_v2(tmp_path, "200000 100000")
    assert usable_cores() == 2


def test_quota_of_the_root_is_used_where_the_membership_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "self").write_bytes(b"\xff\xfe nonsense\n:\n")
    write_v2(tmp_path, "300000 100000")
    assert usable_cores() == 3


def test_machine_without_cgroups_uses_its_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cgroup_quota() is None
    assert usable_cores() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert usable_cores() == 3


@pytest.mark.parametrize(("counted", "usable"), [(6, 6), (None, 1)])
def test_system_without_affinity_uses_the_number_of_processors(
    counted: int | None, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert usable_cores() == usable
