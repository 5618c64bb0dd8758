"""Worker processes that can't be started, can't deliver or are killed: nothing waits for them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset, dataloader

from tests.conftest import ROOT
from toolchain.errors import ImageError
from toolchain.training.inputs.loading import ImageLoader, Loaded
from toolchain.training.machine_failures import MachineFailure, machine_failures

BATCHES = [[0, 1, 2], [3, 4], [5]]


class Numbers(Dataset[Loaded]):
    """Images whose pixels all have their own number."""

    def __init__(self, side: int = 4) -> None:
        self.side = side

    def __getitem__(self, index: int) -> Loaded:
        return torch.full((self.side, self.side, 3), index, dtype=torch.uint8)


def loaded(workers: int, dataset: Dataset[Loaded] | None = None) -> tuple[list[list[int]], str]:
    """Return the numbers of the images of each batch, and what was reported."""
    lines: list[str] = []
    loader = ImageLoader(dataset or Numbers(), BATCHES, workers, lines.append)
    epochs = [[torch.as_tensor(batch)[:, 0, 0, 0].tolist() for batch in loader] for _ in range(2)]
    assert epochs[0] == epochs[1]
    return epochs[0], "\n".join(lines)


def test_batches_come_in_order_with_and_without_workers() -> None:
    assert loaded(0) == loaded(2) == (BATCHES, "")


def test_batches_that_do_not_fit_into_shared_memory_are_sent_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(size: int) -> None:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", full)
    assert loaded(2) == (BATCHES, "")


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.call(["unshare", "-m", "true"], stderr=-3) != 0,
    reason="needs the right to mount",
)
def test_a_container_with_little_shared_memory_reads_all_batches() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); from tests.training.inputs import "
    code += "test_loading as t; print(t.loaded(2, t.Numbers(side=512)))"
    command = (
        f"mount -t tmpfs -o size=1m tmpfs /dev/shm && exec {sys.executable} -c '{code}' {ROOT}"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == str((BATCHES, "")), done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("started", [0, 1])
def test_one_process_reads_where_workers_cant_be_started(
    started: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    start, calls = multiprocessing.process.BaseProcess.start, []

    def limited(process: Any) -> None:
        calls.append(process)
        if len(calls) > started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        start(process)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", limited)
    batches, report = loaded(2)
    assert batches == BATCHES
    assert "no workers can be started (resource temporarily unavailable" in report
    assert "--shm-size" in report
    assert capfd.readouterr().err == ""


class Killed(Numbers):
    """The process that reads the fourth image is killed."""

    def __getitem__(self, index: int) -> Loaded:
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class Unsendable(Numbers):
    """The third image can't be sent to another process."""

    def __getitem__(self, index: int) -> Loaded:
        error = ImageError("damaged")
        error.result = lambda: None
        return error if index == 2 else super().__getitem__(index)


@pytest.mark.parametrize("dataset", [Killed(), Unsendable()], ids=["killed", "can't deliver"])
def test_the_end_of_a_worker_is_an_error_and_no_wait(
    dataset: Dataset[Loaded], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MachineFailure, match="perhaps because memory ran out") as error:  # noqa: SIM117
        with machine_failures():
            loaded(2, dataset)
    assert error.value.hint == "start again with --workers 1"
    assert "Traceback" not in capfd.readouterr().err


@machine_failures()
def killed_after_the_first_batch() -> None:
    for _ in ImageLoader(Numbers(), BATCHES, 1):
        time.sleep(0.5)  # the next batches are announced meanwhile, and not handed over
        for worker in multiprocessing.active_children():
            worker.kill()


def test_the_end_of_a_worker_whose_batch_was_announced_is_the_same_error() -> None:
    with pytest.raises(MachineFailure, match="was killed by the signal Killed"):
        killed_after_the_first_batch()


def test_the_signal_is_named_where_torch_only_says_that_a_worker_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exited(iterator: Any) -> Loaded:
        for worker in iterator._workers:
            worker.kill()
        raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")

    monkeypatch.setattr(dataloader._MultiProcessingDataLoaderIter, "_next_data", exited)
    with pytest.raises(MachineFailure, match="was killed by the signal Killed"), machine_failures():
        loaded(1)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried …"), "the memory of the GPU is full"),
        (MemoryError(), "memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you …"), "memory ran out"),
    ],
)
def test_full_memory_is_said_in_words(error: Exception, message: str) -> None:
    with pytest.raises(MachineFailure, match=message), machine_failures():
        raise error


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), machine_failures():
        raise RuntimeError("shapes differ")
