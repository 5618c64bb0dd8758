"""How many cores rtl believes it has: the affinity mask, cut by the container's quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolchain.runtime import cores
from toolchain.runtime.cores import cgroup_quota, usable_cores


@pytest.fixture(autouse=True)
def no_cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight cores, and without any control group until a test writes one."""
    monkeypatch.setattr(cores, "CGROUP_V2", tmp_path / "cpu.max")
    monkeypatch.setattr(cores, "CGROUP_V1", tmp_path / "cpu")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write_v1(tmp_path: Path, quota: str, period: str) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text(period)


@pytest.mark.parametrize(
    ("content", "quota", "usable"),
    [
        ("200000 100000\n", 2.0, 2),
        ("250000 100000\n", 2.5, 2),
        ("50000 100000\n", 0.5, 1),
        ("1600000 100000\n", 16.0, 8),
        ("max 100000\n", None, 8),
        ("", None, 8),
        ("unheard of\n", None, 8),
    ],
)
def test_quota_of_cgroup_v2_bounds_the_cores(
    content: str, quota: float | None, usable: int, tmp_path: Path
) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert cgroup_quota() == quota
    assert usable_cores() == usable


@pytest.mark.parametrize(
    ("content", "quota", "usable"),
    [("300000\n", 3.0, 3), ("150000\n", 1.5, 1), ("10000\n", 0.1, 1), ("-1\n", None, 8)],
)
def test_quota_of_cgroup_v1_bounds_the_cores(
    content: str, quota: float | None, usable: int, tmp_path: Path
) -> None:
    write_v1(tmp_path, content, "100000\n")
    assert cgroup_quota() == quota
    assert usable_cores() == usable


def test_cgroup_v2_goes_before_v1(tmp_path: Path) -> None:
    write_v1(tmp_path, "100000", "100000")
    (tmp_path / "cpu.max").write_text("400000 100000")
    assert usable_cores() == 4


def test_machine_without_cgroups_has_its_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cgroup_quota() is None
    assert usable_cores() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert usable_cores() == 3


@pytest.mark.parametrize(("counted", "usable"), [(6, 6), (None, 1)])
def test_system_without_affinity_counts_its_processors(
    counted: int | None, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert usable_cores() == usable
