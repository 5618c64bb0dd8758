"""Runs that are killed: `--resume` ends with the weights of a run that was never stopped."""

from __future__ import annotations

import functools
import hashlib
import importlib
import itertools
import json
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
import torch

from toolchain.cli.main import run_command
from toolchain.training.models import build_network, weights_bytes
from toolchain.training.torchvision_import import import_torchvision

# Loading torch takes seconds. So the processes of these tests are forked from a server that has
# loaded it once: it imports this module, which brings torchvision, and the commands.
import_torchvision()
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        __name__,
        "toolchain.training.finetune",
        "toolchain.evaluate.evaluate",
        "onnx",
        "onnxruntime",
        "torchmetrics",
    ]
)

Fault = Callable[[], None]
"""What goes wrong in a process; called in it before its command."""


class Ended(NamedTuple):
    """How a command ended; the status of a process that was killed is -9."""

    status: int
    output: str

    @property
    def hint(self) -> str:
        """The last hint, '' without one."""
        hints = [line for line in self.output.splitlines() if line.startswith("hint: ")]
        return hints[-1].removeprefix("hint: ") if hints else ""


class Outcome(NamedTuple):
    """What a run has come to."""

    weights: str
    metrics: list[dict[str, Any]]
    files: list[str]


def outcome(run: Path) -> Outcome:
    """Give what must not depend on whether the run was stopped."""
    weights = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in metrics:
        row.pop("seconds", None)
    return Outcome(weights, metrics, sorted(file.name for file in run.iterdir()))


class Running(NamedTuple):
    """A command that was started."""

    process: multiprocessing.process.BaseProcess
    log: Path

    def ended(self) -> Ended:
        """Wait for its end."""
        self.process.join(300)
        assert self.process.exitcode is not None, f"still running: {self.log.read_text()}"
        return Ended(self.process.exitcode, self.log.read_text())


class Desk:
    """A folder with a cache in it, where commands run, each in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = (folder / f"log-{number}" for number in itertools.count())
        self.finished: dict[str, Outcome] = {}

    def start(self, *words: object, faults: Sequence[Fault] = ()) -> Running:
        log = next(self.logs)
        arguments = ([str(word) for word in words], faults, self.folder, log)
        process = SERVER.Process(target=obey, args=arguments)
        process.start()
        return Running(process, log)

    def rtl(self, *words: object, faults: Sequence[Fault] = ()) -> Ended:
        return self.start(*words, faults=faults).ended()

    def finetune(self, *words: object, faults: Sequence[Fault] = (), output: str) -> Ended:
        return self.rtl("finetune", *words, "-o", output, faults=faults)

    def resume(self, run: str, *words: object, faults: Sequence[Fault] = ()) -> Ended:
        return self.rtl("finetune", "--resume", run, *words, faults=faults)

    def never_stopped(self, *words: object) -> Outcome:
        """Give the run that these words make; it is trained once."""
        name = f"whole-{shlex.join(str(word) for word in words[1:])}".replace(" ", "")
        if name not in self.finished:
            ended = self.finetune(*words, faults=[checkpoint_after()], output=name)
            assert ended.status == 0, ended.output
            self.finished[name] = outcome(self.folder / name)
        return self.finished[name]


def obey(words: list[str], faults: Sequence[Fault], folder: Path, log: Path) -> NoReturn:
    """Run a command in this process, which a shell could have started."""
    multiprocessing.set_start_method("fork", force=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()  # a group of its own, as a shell gives each command
    os.chdir(folder)
    os.environ["RTL_CACHE_DIR"] = str(folder / "cache")
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for fault in (empty_pictures, *faults):
        fault()
    sys.exit(run_command(words))


def empty_pictures() -> None:
    """Draw no pictures, which take half the time of a short run; other tests look at them."""
    for name in ("draw_curves", "draw_confusion"):
        replaced(f"toolchain.training.pictures:{name}", lambda _: lambda *given: given[-1].touch())


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def replaced(where: str, new: Callable[[Any], Any]) -> None:
    """Put new(old) in the place of what `module:name.name` says."""
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, new(getattr(owner, name)))


def at_call(where: str, number: int, action: Fault, *, after: bool = False) -> None:
    """Have something happen at the n-th call of a function, before or after what it does."""
    calls = itertools.count(1)

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            now = next(calls) == number
            if now and not after:
                action()
            result = function(*arguments, **options)
            if now and after:
                action()
            return result

        return call

    replaced(where, watched)


def killed_at(where: str, number: int = 1, *, after: bool = False) -> Fault:
    return partial(at_call, where, number, kill, after=after)


def killed_in_step(number: int) -> Fault:
    """Kill in the n-th step of training that the process makes."""
    return killed_at("toolchain.training.loop:Stepper.update", number)


def write_half(name: str) -> None:
    """Kill when half of the file that is to have this name is written."""

    def watched(write: Callable[[Path, bytes], int]) -> Callable[[Path, bytes], int]:
        def write_bytes(path: Path, data: bytes) -> int:
            if not path.name.startswith(f".{name}."):
                return write(path, data)
            written = write(path, data[: len(data) // 2])
            kill()
            return written

        return write_bytes

    replaced("pathlib:Path.write_bytes", watched)


def killed_with_half(name: str) -> Fault:
    return partial(write_half, name)


def checkpoint_after(*epochs: int) -> Fault:
    """Write checkpoints after these epochs: the clock does not decide."""
    return partial(_checkpoint_after, epochs)


def _checkpoint_after(epochs: Sequence[int]) -> None:
    numbers = itertools.count(1)
    replaced(
        "toolchain.training.checkpoints:Checkpoints.due",
        lambda _: lambda _: next(numbers) in epochs,
    )


EACH_EPOCH = checkpoint_after(*range(1, 100))

COMMON = ["--weights", "none", "--size", "32", "--batch-size", "16", "--epochs", "3"]
# Three steps an epoch, from features that all runs share; the generators matter for dropout.
HEAD = [*COMMON, "--strategy", "head", "--dropout", "0.4", "--augment", "none"]
TWO_LAYERS = [*COMMON, "--strategy", "partial", "--freeze-until", "16"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def killed(desk: Desk, stripes: Path) -> Path:
    """A run that was killed in its third epoch, to be copied: its checkpoint is of the second."""
    faults = [EACH_EPOCH, killed_in_step(8)]
    assert desk.finetune(stripes, *HEAD, faults=faults, output="killed").status == -9
    return desk.folder / "killed"


@pytest.fixture
def copy(desk: Desk, killed: Path, tmp_path: Path) -> str:
    """The name of a copy of that run."""
    name = f"copy of {tmp_path.name}"
    shutil.copytree(killed, desk.folder / name)
    return name


WRITE = "toolchain.training.checkpoints:_write"
"""Its calls: two for the start, then tensors and record of each checkpoint."""


@pytest.mark.parametrize(
    ("fault", "goes_on_with"),
    [
        pytest.param(killed_at("toolchain.training.finetune:held"), 1, id="only settings"),
        pytest.param(killed_in_step(2), 1, id="first epoch"),
        pytest.param(killed_with_half("epoch-0001.safetensors"), 1, id="half the first tensors"),
        pytest.param(killed_with_half("epoch-0002.safetensors"), 2, id="half the tensors"),
        pytest.param(killed_at(WRITE, 6), 2, id="before the record"),
        pytest.param(killed_with_half("epoch-0002.json"), 2, id="half the record"),
        pytest.param(killed_at(WRITE, 6, after=True), 3, id="before the older is removed"),
        pytest.param(killed_at("toolchain.runfolder:RunFolder.write_card"), 4, id="before card"),
        pytest.param(
            killed_at("toolchain.runfolder:RunFolder.drop_checkpoints"), 4, id="before cleaning"
        ),
    ],
)
def test_wherever_it_is_killed_it_ends_with_the_same_weights(
    desk: Desk, stripes: Path, tmp_path: Path, fault: Fault, goes_on_with: int
) -> None:
    name = tmp_path.name
    assert desk.finetune(stripes, *HEAD, faults=[EACH_EPOCH, fault], output=name).status == -9
    ended = desk.resume(name)
    assert ended.status == 0, ended.output
    assert trained(ended) == [1, 2, 3][goes_on_with - 1 :]
    assert outcome(desk.folder / name) == desk.never_stopped(stripes, *HEAD)


def trained(ended: Ended) -> list[int]:
    """Give the epochs that were told."""
    return [int(number) for number in re.findall(r"^epoch +(\d+)/", ended.output, re.MULTILINE)]


def test_epochs_after_the_last_checkpoint_are_trained_again(desk: Desk, stripes: Path) -> None:
    faults = [checkpoint_after(1), killed_in_step(8)]
    desk.finetune(stripes, *HEAD, faults=faults, output="rare")
    ended = desk.resume("rare")
    assert trained(ended) == [2, 3]
    assert outcome(desk.folder / "rare") == desk.never_stopped(stripes, *HEAD)


def test_half_a_model_file_does_not_stay(desk: Desk, stripes: Path) -> None:
    faults = [killed_with_half("model.safetensors")]
    assert desk.finetune(stripes, *HEAD, faults=faults, output="half").status == -9
    assert desk.resume("half").status == 0
    whole = desk.never_stopped(stripes, *HEAD)
    assert outcome(desk.folder / "half").weights == whole.weights
    assert outcome(desk.folder / "half").files == whole.files


RECIPES = {
    "pixels": [
        *("--strategy", "full", "--augment", "s1", "--dropout", "0.3", "--ema", "0.9"),
        *("--schedule", "one-cycle", "--optimizer", "sgd", "--mixup", "0.4", "--cutmix", "1"),
        *("--balanced-sampling", "--loss", "focal", "--class-weights", "--clip-norm", "1"),
    ],
    "two-stage": [
        *("--strategy", "two-stage", "--head-epochs", "1", "--freeze-until", "16"),
        *("--optimizer", "adamw", "--schedule", "cosine", "--warmup-epochs", "1"),
        *("--dropout", "0.3", "--ema", "0.5", "--augment", "turns", "--views", "2"),
    ],
    "progressive": [
        *("--strategy", "progressive", "--unfreeze-every", "1", "--unfreeze-layers", "1"),
        *("--schedule", "plateau", "--plateau-patience", "0", "--metric", "loss"),
        *("--lr-head", "0.1", "--early-stopping", "5", "--batch-size", "8", "--accumulate", "2"),
    ],
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_goes_on_bit_for_bit_however_often_it_is_killed(
    desk: Desk, stripes: Path, recipe: str
) -> None:
    words = [*COMMON, *RECIPES[recipe]]
    whole = desk.never_stopped(stripes, *words, "--workers", "0")
    # Three steps an epoch. It is killed in the second, goes on there, is killed in the third.
    faults = [EACH_EPOCH, killed_in_step(5)]
    ended = desk.finetune(stripes, *words, "--workers", "2", faults=faults, output=recipe)
    assert ended.status == -9, ended.output
    ended = desk.resume(recipe, faults=[EACH_EPOCH, killed_in_step(5)])
    assert ended.status == -9, ended.output
    ended = desk.resume(recipe, "--workers", "1")
    assert ended.status == 0, ended.output
    assert trained(ended) == [3]
    assert outcome(desk.folder / recipe) == whole


def rows_kept_at_once() -> None:
    replaced("toolchain.training.feature_store:Filler.KEEP_EVERY_S", lambda _: -1.0)


@pytest.fixture(scope="module")
def ended_without_cleaning(desk: Desk, stripes: Path) -> Path:
    """A run that was killed when all but the removal of its checkpoints was done."""
    faults = [killed_at("toolchain.runfolder:RunFolder.drop_checkpoints")]
    assert desk.finetune(stripes, *HEAD, faults=faults, output="uncleaned").status == -9
    return desk.folder / "uncleaned"


@pytest.mark.parametrize(
    "gone",
    [
        "lock",
        "epoch-0003.json",
        "epoch-0003.safetensors",
        "start.json",
        "start.safetensors",
    ],
)
def test_it_does_not_matter_which_file_the_removal_began_with(
    desk: Desk, stripes: Path, ended_without_cleaning: Path, gone: str
) -> None:
    name = f"without {gone}"
    shutil.copytree(ended_without_cleaning, desk.folder / name)
    (desk.folder / name / "checkpoints" / gone).unlink()
    ended = desk.resume(name)
    assert ended.status == 0, ended.output
    assert outcome(desk.folder / name) == desk.never_stopped(stripes, *HEAD)


def test_killed_while_its_checkpoints_are_removed_it_has_finished(
    desk: Desk, stripes: Path
) -> None:
    fault = partial(at_call, "shutil:rmtree", 1, kill)
    faults = [partial(at_call, "toolchain.runfolder:RunFolder.drop_checkpoints", 1, fault)]
    assert desk.finetune(stripes, *HEAD, faults=faults, output="removing").status == -9
    ended = desk.resume("removing")
    assert ended.status == 11
    assert "has finished" in ended.output
    assert desk.rtl("evaluate", "removing").status == 0
    whole = desk.never_stopped(stripes, *HEAD)
    assert outcome(desk.folder / "removing").weights == whole.weights


def test_a_checkpoint_that_was_damaged_is_not_gone_on_from(
    desk: Desk, stripes: Path, copy: str
) -> None:
    tensors = desk.folder / copy / "checkpoints" / "epoch-0002.safetensors"
    damaged = bytearray(tensors.read_bytes())
    damaged[-1] ^= 1
    tensors.write_bytes(damaged)
    assert desk.resume(copy).status == 0
    assert outcome(desk.folder / copy) == desk.never_stopped(stripes, *HEAD)


@pytest.fixture(scope="module")
def from_file(desk: Desk, stripes: Path) -> tuple[Path, Outcome]:
    """A killed run that began with a weights file, which is gone; and what it has to come to."""
    torch.manual_seed(123)
    start = desk.folder / "start.safetensors"
    start.write_bytes(weights_bytes(build_network("resnet18", 3).state_dict()))
    words = [*TWO_LAYERS, "--weights", start, "--augment", "none"]
    whole = desk.never_stopped(stripes, *words)
    faults = [EACH_EPOCH, killed_in_step(8)]
    assert desk.finetune(stripes, *words, faults=faults, output="from file").status == -9
    start.rename(desk.folder / "gone.safetensors")
    return desk.folder / "from file", whole


def test_a_checkpoint_needs_the_weights_file_no_more(
    desk: Desk, from_file: tuple[Path, Outcome]
) -> None:
    shutil.copytree(from_file[0], desk.folder / "without file")
    ended = desk.resume("without file")
    assert ended.status == 0, ended.output
    assert outcome(desk.folder / "without file") == from_file[1]


def test_a_run_that_starts_over_does_so_from_its_weights_file_or_not_at_all(
    desk: Desk, from_file: tuple[Path, Outcome]
) -> None:
    shutil.copytree(from_file[0], desk.folder / "over")
    tensors = desk.folder / "over" / "checkpoints" / "epoch-0002.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    ended = desk.resume("over")
    assert ended.status == 11 or outcome(desk.folder / "over").weights == from_file[1].weights


def test_a_killed_run_can_be_moved(desk: Desk, stripes: Path, copy: str) -> None:
    (desk.folder / "else where").mkdir()
    (desk.folder / copy).rename(desk.folder / "else where" / "it's here")
    assert desk.resume("else where/it's here").status == 0
    moved = outcome(desk.folder / "else where" / "it's here")
    assert moved == desk.never_stopped(stripes, *HEAD)


def test_evaluation_of_a_killed_run_names_the_command_that_goes_on(desk: Desk, copy: str) -> None:
    ended = desk.rtl("evaluate", copy)
    assert ended.status == 3
    assert "its training was stopped" in ended.output
    assert shlex.split(ended.hint) == ["rtl", "finetune", "--resume", copy]


def test_a_run_killed_at_once_is_told_to_go_on_too(desk: Desk, stripes: Path) -> None:
    faults = [killed_at("toolchain.runfolder:RunFolder.create", after=True)]
    assert desk.finetune(stripes, *HEAD, faults=faults, output="at once").status == -9
    assert desk.rtl("evaluate", "at once").hint == "rtl finetune --resume 'at once'"


def test_a_finished_run_is_not_gone_on_with(desk: Desk, copy: str) -> None:
    assert desk.resume(copy).status == 0
    before = outcome(desk.folder / copy)
    ended = desk.resume(copy)
    assert ended.status == 11
    assert "has finished" in ended.output
    assert shlex.split(ended.hint) == ["rtl", "evaluate", copy]
    assert outcome(desk.folder / copy) == before


def test_a_folder_that_is_no_run_is_refused(desk: Desk, stripes: Path) -> None:
    for folder in (stripes, "nowhere"):
        ended = desk.resume(str(folder))
        assert ended.status == 3
        assert f"{folder} is no run folder" in ended.output


def test_a_run_goes_on_with_its_own_data_only(tmp_path: Path, stripes: Path) -> None:
    desk, data = Desk(tmp_path), tmp_path / "data"
    shutil.copytree(stripes, data)
    faults = [EACH_EPOCH, killed_in_step(8)]
    assert desk.finetune(data, *HEAD, faults=faults, output="run").status == -9
    kept = sorted(tmp_path.glob("run/**/*"))
    image = data / "train" / "down" / "00.jpg"
    image.write_bytes((data / "train" / "down" / "01.jpg").read_bytes())
    ended = desk.resume("run")
    assert ended.status == 3
    assert f"{data} has changed since run began" in ended.output
    assert sorted(tmp_path.glob("run/**/*")) == kept
    shutil.copy(stripes / "train" / "down" / "00.jpg", image)
    assert desk.resume("run").status == 0


def test_a_list_in_another_order_gives_the_same_weights_or_is_refused(
    tmp_path: Path, stripes: Path
) -> None:
    desk = Desk(tmp_path)
    for split in ("train", "val"):
        files = sorted((stripes / split).rglob("*.jpg"))
        lines = [f"{file} {file.parent.name}\n" for file in files]
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    data = tmp_path / "train.txt"
    whole = desk.never_stopped(data, *HEAD)
    desk.finetune(data, *HEAD, faults=[EACH_EPOCH, killed_in_step(8)], output="run")
    data.write_text("".join(reversed(data.read_text().splitlines(keepends=True))))
    status = desk.resume("run").status
    assert status == 3 or outcome(tmp_path / "run").weights == whole.weights


def test_settings_that_can_not_be_read_any_more_are_told_as_such(desk: Desk, copy: str) -> None:
    settings = desk.folder / copy / "settings.toml"
    settings.write_text(settings.read_text().replace("epochs = 3", "epochs = many"))
    ended = desk.resume(copy)
    assert ended.status == 3
    assert f"{copy}/settings.toml" in ended.output
    assert "bug" not in ended.output


def test_what_the_user_put_into_a_run_stays(desk: Desk, copy: str) -> None:
    notes = desk.folder / copy / ".my.notes.txt"
    notes.write_text("years of work")
    assert desk.resume(copy).status == 0
    assert notes.read_text() == "years of work"


def test_a_run_goes_on_with_its_own_settings_only(desk: Desk, stripes: Path, copy: str) -> None:
    ended = desk.resume(copy, stripes, "--epochs", "9", "--lr-head", "1", "--workers", "0")
    assert ended.status == 2
    assert "--epochs, --lr-head, DATA can't be changed" in ended.output
    assert not (desk.folder / copy / "model.safetensors").exists()


def test_a_run_in_training_is_refused_to_others(desk: Desk, copy: str) -> None:
    running = desk.start("finetune", "--resume", copy, faults=[wait_in_step(1)])
    wait_for(desk.folder / "waiting")
    ended = desk.resume(copy)
    assert ended.status == 11
    assert f"{copy} is being trained by another process" in ended.output
    (desk.folder / "waiting").unlink()
    assert running.ended().status == 0


def test_who_comes_too_late_for_its_own_run_leaves_it_to_who_has_it(
    tmp_path: Path, stripes: Path
) -> None:
    desk = Desk(tmp_path)
    slow = [partial(wait_at, "toolchain.training.finetune:held", 1, "slow")]
    late = desk.start("finetune", stripes, *HEAD, "-o", "run", faults=slow)
    wait_for(tmp_path / "slow")
    other = desk.start("finetune", "--resume", "run", faults=[wait_in_step(1)])
    wait_for(tmp_path / "waiting")
    (tmp_path / "slow").unlink()
    assert late.ended().status == 11
    (tmp_path / "waiting").unlink()
    ended = other.ended()
    assert ended.status == 0, ended.output
    assert len(outcome(tmp_path / "run").metrics) == 4  # three epochs and the summary


def wait_in_step(number: int) -> Fault:
    return partial(wait_at, "toolchain.training.loop:Stepper.update", number, "waiting")


def wait_at(where: str, number: int, file: str) -> None:
    """Have the n-th call of a function make a file and wait until that is gone."""
    at_call(where, number, partial(_wait, file))


def _wait(file: str) -> None:
    Path(file).touch()
    ends = time.monotonic() + 60
    while Path(file).exists() and time.monotonic() < ends:
        time.sleep(0.01)


def wait_for(file: Path) -> None:
    ends = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < ends, f"{file} did not come"
        time.sleep(0.01)


def meet(count: int) -> None:
    """Wait until so many processes have come here."""
    Path(f"met-{os.getpid()}").touch()
    ends = time.monotonic() + 60
    while len(list(Path().glob("met-*"))) < count and time.monotonic() < ends:
        time.sleep(0.001)
