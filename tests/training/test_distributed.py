"""Training in several processes, compared with the same training in one."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import RANDOM_WEIGHTS
from tests.training.sandbox import (
    EACH_EPOCH,
    PATIENCE_S,
    SERVER,
    Ended,
    Fault,
    Sandbox,
    at_call,
    killed_in_step,
    replace,
)
from tests.training.test_finetune import epochs_of, small
from toolchain.cli.main import run_command
from toolchain.errors import DataError, ImageError, ToolchainError
from toolchain.evaluation.evaluate import evaluate
from toolchain.runs.runfolder import RunFolder
from toolchain.training.distributed import Processes, process_group
from toolchain.training.finetune import finetune

FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_macro_f1", "val_auc")
# 48 training and 24 validation images: the last batches are smaller, and of the last two training
# images one process has none, as two have of the last validation image.
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "cached": (2, {"epochs": 2, "batch_size": 20}),
    "computed": (3, {"epochs": 2, "batch_size": 23, "cache": False, "accumulate": 2}),
}
PARTIAL = {"strategy": "partial", "epochs": 5, "batch_size": 20, "dropout": 0.3, "augment": "none"}

Done = subprocess.CompletedProcess[str]


def launch(processes: int, folder: Path, *words: object) -> subprocess.Popen[str]:
    """Start `torchrun … -m toolchain finetune …` in a folder."""
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    return subprocess.Popen(
        [sys.executable, "-m", *torchrun, "-m", "toolchain", "finetune", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        # One thread each, as torchrun would set it with a notice of five lines.
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finished(process: subprocess.Popen[str]) -> Done:
    try:
        stdout, stderr = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, stderr
    return Done(process.args, process.returncode, stdout, stderr)


def options(**given: Any) -> list[str]:
    """Return settings as command-line options."""
    words = []
    for name, value in given.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words


def words_for(data: Path, **given: Any) -> list[str]:
    fixed = {"weights": RANDOM_WEIGHTS, "strategy": "head", "size": 32, "workers": 0}
    return [str(data), "-o", "run", *options(**{**fixed, **given})]


def figures_of(run: RunFolder) -> list[float]:
    return [row[name] for row in epochs_of(run) for name in FIGURES]


def summary_of(run: RunFolder) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(run.metrics.read_text().splitlines()[-1])["summary"]
    return summary


def join_processes(count: int, rank: int, port: int) -> None:
    """Make this process one of several, as torchrun does."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        **{name: str(value) for name, value in variables.items()},
    }
    torch.set_num_threads(1)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def together(
    sandbox: Sandbox, count: int, *words: object, faults: Sequence[Fault] = ()
) -> list[Ended]:
    """Run a command in several processes, forked because loading torch takes seconds."""
    port = free_port()
    started = [
        sandbox.start(*words, faults=[partial(join_processes, count, rank, port), *faults])
        for rank in range(count)
    ]
    return [running.ended() for running in started]


class Head(NamedTuple):
    """A run of the strategy head in several processes, and the same in one."""

    processes: int
    lines: list[str]
    """The output of all processes."""
    files: list[str]
    """What they made in the folder in which they were started."""
    run: RunFolder
    single: RunFolder


@pytest.fixture(scope="module", params=CASES)
def head(
    request: pytest.FixtureRequest, stripes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Head:
    processes, given = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    words = words_for(stripes, **given)
    if request.param == "cached":
        done = finished(launch(processes, folder, *words))
        output = done.stdout + done.stderr
    else:
        ended = together(Sandbox(folder), processes, "finetune", *words)
        assert {one.status for one in ended} == {0}, ended
        output = "".join(one.output for one in ended)
    files = [path.name for path in folder.iterdir() if not path.name.startswith("log-")]
    single = finetune(
        small(stripes, strategy="head", **given), tmp_path_factory.mktemp("single") / "run"
    )
    return Head(processes, output.splitlines(), files, RunFolder(folder / "run"), single.run)


def test_several_processes_train_the_same_weights_as_one(head: Head) -> None:
    assert figures_of(head.run) == pytest.approx(figures_of(head.single), abs=1e-5)
    found, expected = load_file(head.run.weights), load_file(head.single.weights)
    for name, weights in found.items():
        torch.testing.assert_close(weights, expected[name], atol=1e-5, rtol=1e-4)
    assert head.run.settings.read_text() == head.single.settings.read_text()


def test_the_losses_of_the_first_steps_are_those_of_whole_batches(head: Head) -> None:
    found, expected = (epochs_of(run)[0]["train_loss_start"] for run in (head.run, head.single))
    assert found == pytest.approx(expected, abs=1e-4)


def test_only_rank_zero_writes_and_reports(head: Head) -> None:
    assert head.files == ["run"]
    # If two processes wrote, each epoch would be there twice; if two reported, each line.
    assert [row["epoch"] for row in epochs_of(head.run)] == [1, 2]
    messages = [line.split("  ")[0] for line in head.lines if not line.startswith(" ")]
    assert len(messages) == len(set(messages)), messages
    assert (
        f"resnet18 from file {RANDOM_WEIGHTS.name}, on cpu in {head.processes} processes"
        in messages
    )
    assert {"epoch 1/2", "epoch 2/2", "next: rtl evaluate run"} <= set(messages)


def test_each_validation_image_counts_once(head: Head) -> None:
    """`rtl evaluate` computes the same model in one process."""
    result = evaluate(head.run.path, workers=0)
    assert result.images == 24
    assert result.loss == pytest.approx(summary_of(head.run)["val_loss"], abs=1e-4)


@pytest.fixture(scope="module")
def whole(sandbox: Sandbox, stripes: Path) -> RunFolder:
    """A run in two processes with trained norms and dropout."""
    ended = together(sandbox, 2, "finetune", *words_for(stripes, **PARTIAL))
    assert [one.status for one in ended] == [0, 0], ended
    return RunFolder(sandbox.folder / "run")


def test_a_stopped_run_of_two_processes_continues_bit_for_bit(
    sandbox: Sandbox, stripes: Path, whole: RunFolder
) -> None:
    words = [*words_for(stripes, **PARTIAL), "-o", "stopped"]
    # Three steps an epoch. The process that is killed first may end the other too.
    ended = together(sandbox, 2, "finetune", *words, faults=[EACH_EPOCH, killed_in_step(8)])
    assert -9 in [one.status for one in ended]
    part = RunFolder(sandbox.folder / "stopped")
    [checkpoint] = part.checkpoints.glob("epoch-*.json")
    assert json.loads(checkpoint.read_text())["epoch"] == 2
    ended = together(sandbox, 2, "finetune", "--resume", "stopped")
    assert [one.status for one in ended] == [0, 0], ended
    output = "".join(one.output for one in ended)
    assert "resuming " in output
    assert "epoch 3/5" in output
    assert "epoch 1/5" not in output, "it started over"
    assert part.read_card().weights.sha256 == whole.read_card().weights.sha256
    assert figures_of(part) == figures_of(whole)


def test_the_validated_weights_are_those_that_are_kept(whole: RunFolder) -> None:
    result = evaluate(whole.path, workers=0)
    assert result.loss == pytest.approx(summary_of(whole)["val_loss"], abs=1e-4)


def test_only_rank_zero_prints_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert run_command(["finetune", "nowhere"]) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere"], 3, "nowhere: no such folder"),  # found by rank zero
        (["DATA", "-o", "."], 11, "exists and is not empty"),
        (["DATA", "--size", "1"], 2, "size"),  # found by each process
    ],
    ids=["data", "output", "settings"],
)
def test_an_error_in_several_processes_is_one_error_with_its_exit_status(
    tmp_path: Path, stripes: Path, words: list[str], status: int, message: str
) -> None:
    (tmp_path / "file").touch()
    words = [str(stripes) if word == "DATA" else word for word in words]
    ended = together(Sandbox(tmp_path), 2, "finetune", *words)
    output = "".join(one.output for one in ended)
    assert [one.status for one in ended] == [status, status], output
    assert output.count("error: ") == 1, output
    assert message in output
    assert "Traceback" not in output


def test_an_error_of_one_process_alone_is_reported_by_it(tmp_path: Path, stripes: Path) -> None:
    """The other process loses its connection, and keeps the best epoch."""
    faults = [EACH_EPOCH, fails_in_rank_one]
    words = ["finetune", stripes, "--weights", RANDOM_WEIGHTS, "--strategy", "head", "--size", "32"]
    ended = together(
        Sandbox(tmp_path),
        2,
        *words,
        "--epochs",
        "3",
        "--batch-size",
        "16",
        "-o",
        "run",
        faults=faults,
    )
    output = "".join(one.output for one in ended)
    assert [one.status for one in ended] == [4, 4], output
    assert output.count("error: ") == 1, output
    assert "error: damaged.jpg: no image" in ended[1].output
    assert "--resume run" in ended[0].hint
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_torchs_notice_of_strides_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.parallel.DistributedDataParallel", lambda model, **_: model)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        Processes(count=2).wrap(torch.nn.Linear(1, 1), torch.device("cpu"))
        warnings.warn("Grad strides do not match bucket view strides. This", stacklevel=1)
        warnings.warn("another", stacklevel=1)
    assert [str(one.message) for one in shown] == ["another"]


def test_a_hint_that_all_processes_have_is_printed_by_the_first_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which process comes first is chance; where it is not rank zero, both would print it."""
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(f"torch.distributed.{name}", lambda *_, **__: None)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.distributed_c10d._get_default_store", lambda: store)
    monkeypatch.setenv("WORLD_SIZE", "2")
    raised = []
    for hint in ("add images", "add images", "rtl finetune --resume run"):
        with pytest.raises(ToolchainError) as caught, process_group():
            raise DataError("no images", hint=hint)
        raised.append((caught.value.reporter, caught.value.exit_code, caught.value.hint))
    assert raised == [
        ("this process", 3, "add images"),
        ("another process", 3, None),
        ("another process", 3, "rtl finetune --resume run"),
    ]


def fails_in_rank_one() -> None:
    def damaged() -> None:
        raise ImageError("damaged.jpg: no image")

    if os.environ["RANK"] == "1":
        at_call("toolchain.training.loop:Stepper.update", 5, damaged)


def test_an_error_of_a_step_does_not_wait_for_the_thread_of_the_gradients() -> None:
    """It may wait for the interpreter's lock, which the deletion of the error's frames holds."""
    process = SERVER.Process(target=fail_after_a_backward_pass)
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == 0


def fail_after_a_backward_pass() -> None:
    """Exit with status 1 where the thread of the operations ends with the error's frames."""
    join_processes(1, 0, free_port())
    replace("toolchain.training.distributed:is_single_process", lambda _: lambda: False)
    with contextlib.suppress(ValueError), process_group():
        network = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
        network(torch.ones(1, 2)).sum().backward()
        raise ValueError
    del network
    gc.collect()
    names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
    sys.exit("pt_gloo_runloop" not in names)


class JoinedError(Exception):
    """Ends the start of a process where it joins the others."""


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL sends objects by the current device, and refuses two processes on one GPU."""
    done: list[object] = []

    def init_process_group(backend: str, **_: object) -> None:
        done.append(backend)
        raise JoinedError

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", init_process_group)
    with pytest.raises(JoinedError), process_group():
        pass
    assert done == [1, "nccl"]
