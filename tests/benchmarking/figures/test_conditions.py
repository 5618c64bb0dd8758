"""What the machine did meanwhile is read from files, of which a system may lack any."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from toolchain.benchmarking.figures import conditions
from toolchain.benchmarking.figures.conditions import Conditions, between, read_counters


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /proc and /sys, empty."""
    monkeypatch.setattr(conditions, "PROC", tmp_path / "proc")
    monkeypatch.setattr(conditions, "SYS", tmp_path / "sys")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_system_that_tells_nothing_is_no_error(system: Path) -> None:
    before = read_counters()
    found = between(before, read_counters(), 0.1, 0.2)
    assert (found.others_s, found.quota_s, found.too_hot, found.energy_j) == (None,) * 4
    assert conditions.why_no_energy() == "this machine has no RAPL counters"


def test_time_of_other_programs_is_that_of_the_cores_less_the_targets(system: Path) -> None:
    stat = "cpu 0 0 0 0 0 0 0 0 0 0\ncpu0 {0} 0 50 900 70 1 2 3 0 0\ncpu1 10 0 0 5 0 0 0 0 0 0\n"
    write(system / "proc/stat", stat.format(100) + "cpu2 9999 0 0 0 0 0 0 0 0 0\n")
    before = read_counters()
    write(system / "proc/stat", stat.format(400) + "cpu2 0 0 0 0 0 0 0 0 0 0\n")
    after = read_counters()
    ticks = conditions.TICKS_PER_S
    assert between(before, after, 100 / ticks, 0.1).others_s == pytest.approx(200 / ticks)
    assert between(before, after, 999, 0.1).others_s == 0  # coarse counters, not less than nothing


def test_limits_heat_and_energy_are_read(system: Path) -> None:
    sys = system / "sys"
    write(sys / "fs/cgroup/cpu.stat", "usage_usec 5\nthrottled_usec 1000000\n")
    write(sys / "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3")
    for name, joules in (("intel-rapl:0", 5), ("intel-rapl:0:0", 4), ("intel-rapl:1", 7)):
        write(sys / "class/powercap" / name / "energy_uj", str(joules * 1_000_000))
    before = read_counters()
    assert (before.quota_s, before.too_hot, before.energy_j) == (1.0, 3, 12.0)
    assert conditions.why_no_energy() is None
    write(sys / "class/powercap/intel-rapl:0/energy_uj", "1")  # it has begun anew
    write(sys / "fs/cgroup/cpu.stat", "throttled_usec 1500000\n")
    found = between(before, read_counters(), 0.0, 0.1)
    assert (found.quota_s, found.too_hot, found.energy_j) == (0.5, 0, None)


def test_counters_that_only_root_may_read_are_named(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = system / "sys/class/powercap/intel-rapl:0/energy_uj"
    write(file, "no number")  # as little use as one without rights, which root would have
    assert conditions.processor_energy_j() is None
    assert str(conditions.why_no_energy()).endswith("energy_uj can't be read")


def test_rounds_are_added_up() -> None:
    first = Conditions(1.0, 0.1, None, 1, 2.0, (0.1,))
    found = first + Conditions(2.0, 0.2, None, 2, 3.0, (0.2,))
    assert found == Conditions(3.0, 0.1 + 0.2, None, 3, 5.0, (0.1, 0.2))
    assert (first + Conditions(1.0, None, None, None, None, ())).others_s is None


def test_measuring_costs_less_than_one_per_cent_of_a_round() -> None:
    started = time.process_time()
    for _ in range(20):
        before = read_counters()
        between(before, read_counters(), 0.0, conditions.small_work_ms())
    assert (time.process_time() - started) / 20 < 0.01 * 0.6  # a round of the default length
