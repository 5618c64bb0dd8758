"""Damage the files of a run folder in many ways, and fail where a command does not say so.

    python tests/slow/run_folder_fuzzing.py [--cases 2000] [--seed 0] [--folder /tmp/fuzzed]

A small run is trained, stopped after its last epoch and finished. Each case is a copy of one of the
two in which one file is flipped, cut, emptied, removed, made a folder, replaced by text or JSON, or
swapped with that of another run. A finished run is then evaluated and inspected; every tenth is
used as `--weights`; a stopped one is loaded as `--resume` does. The expected result is a result or
a `ToolchainError`. A failure is any other exception, a result of other weights than the run's, and
other predictions although only a file was damaged that they do not depend on. `--only NUMBER`
repeats one case and shows its traceback.

Files that are not damaged are hard links, and the network of undamaged weights is loaded once, so
that a case takes milliseconds.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.conftest import draw_stripes  # noqa: E402
from toolchain.errors import ToolchainError  # noqa: E402
from toolchain.evaluation import evaluate as evaluation  # noqa: E402
from toolchain.networks import weights as networks  # noqa: E402
from toolchain.progress import SilentReporter  # noqa: E402
from toolchain.runs import trained_run  # noqa: E402
from toolchain.runs.runfolder import RunFolder  # noqa: E402
from toolchain.runs.settings_file import read_settings  # noqa: E402
from toolchain.training.checkpoints import Checkpoints  # noqa: E402
from toolchain.training.finetune import finetune  # noqa: E402
from toolchain.training.starting_weights import restore_starting_weights  # noqa: E402
from toolchain.training.stopped_run import settings_of_stopped_run  # noqa: E402
from toolchain.training.trainer_state import TrainerState  # noqa: E402
from toolchain.verification.inspection import inspect_model  # noqa: E402

FINISHED = ("settings.toml", "audit.json", "card.json", "model.safetensors", "metrics.jsonl")
TEXTS = (
    b"",
    b"text\n",
    b"{}",
    b"[]",
    b"null",
    b"0",
    b'{"version": 1}',
    b"\xff\xfe\x00",
    b"[" * 9999,
)


def flip(data: bytes, other: bytes, random: Random) -> bytes:
    """Change up to three bits."""
    changed = bytearray(data or b"\0")
    for _ in range(random.randint(1, 3)):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(data: bytes, other: bytes, random: Random) -> bytes:
    """Keep a beginning."""
    return data[: random.randrange(len(data) or 1)]


def insert(data: bytes, other: bytes, random: Random) -> bytes:
    """Put random bytes somewhere."""
    place = random.randrange(len(data) + 1)
    return data[:place] + random.randbytes(random.randint(1, 40)) + data[place:]


def drop_lines(data: bytes, other: bytes, random: Random) -> bytes:
    """Leave out some lines, which in JSON and TOML are keys."""
    lines = data.splitlines(keepends=True)
    return b"".join(line for line in lines if random.random() > 0.1)


def text(data: bytes, other: bytes, random: Random) -> bytes:
    """Replace all of it."""
    return random.choice(TEXTS)


def swap(data: bytes, other: bytes, random: Random) -> bytes:
    """Take the file of another run."""
    return other


DAMAGE: dict[str, Callable[[bytes, bytes, Random], bytes]] = {
    f.__name__: f for f in (flip, cut, insert, drop_lines, text, swap)
}
KINDS = (*DAMAGE, "remove", "folder")


def train(folder: Path, seed: int) -> tuple[RunFolder, RunFolder]:
    """Return (a finished run, the same as it was before its checkpoints were removed)."""
    data = folder / f"data-{seed}"
    for split, count in (("train", 4), ("val", 3)):
        for number, label in enumerate(("across", "aslant", "down")):
            for i in range(count):
                path = data / split / label / f"{i}.jpg"
                draw_stripes(path, label, 1000 * seed + 100 * (split == "val") + number + 3 * i)
    values = {"data": str(data), "weights": "none", "size": 32, "epochs": 2, "batch_size": 4}
    settings = read_settings(None, values | {"workers": 0, "strategy": "full", "seed": seed})
    run, stopped = RunFolder(folder / f"run-{seed}"), folder / f"stopped-{seed}"
    drop = RunFolder.drop_checkpoints

    def keep_copy(self: RunFolder) -> None:
        shutil.copytree(self.path, stopped)
        drop(self)

    RunFolder.drop_checkpoints = keep_copy  # type: ignore[method-assign]
    try:
        finetune(settings, run.path)
    finally:
        RunFolder.drop_checkpoints = drop  # type: ignore[method-assign]
    return run, RunFolder(stopped)


def cache_by_inode(module: Any, name: str, path_index: int) -> None:
    """Let a function compute once for each file on the disk: links of a file share its inode."""
    original = getattr(module, name)
    kept: dict[Any, Any] = {}

    @functools.wraps(original)
    def cached(*arguments: Any) -> Any:
        status = Path(arguments[path_index]).stat()
        others = (*arguments[:path_index], *arguments[path_index + 1 :])
        key = (status.st_ino, status.st_mtime_ns, status.st_size, repr(others))
        if status.st_nlink == 1:  # a damaged file
            return original(*arguments)
        if key not in kept:
            kept[key] = original(*arguments)
        return kept[key]

    setattr(module, name, cached)


class Fuzzer:
    """Two runs, and the cases made from them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.finished, self.stopped = train(folder, 1)
        self.other, self.other_stopped = train(folder, 2)
        evaluation._draw_confusion = lambda *_: None
        cache_by_inode(networks, "load_classifier", 2)
        cache_by_inode(trained_run, "file_sha256", 0)
        self.expected = evaluation.evaluate(self.finished.path, workers=0)
        self.outcomes: Counter[tuple[str, str, str]] = Counter()

    def run(self, number: int) -> str | None:
        """Make a case and use it; return what is wrong, None where nothing is."""
        random = Random(f"{self.seed}:{number}")
        whole, other = (
            (self.finished, self.other) if number % 4 else (self.stopped, self.other_stopped)
        )
        names = FINISHED if number % 4 else [*self._checkpoint_files(whole), "settings.toml"]
        name, kind = random.choice(names), random.choice(KINDS)
        copy = RunFolder(self.folder / "case")
        shutil.rmtree(copy.path, ignore_errors=True)
        shutil.copytree(whole.path, copy.path, copy_function=os.link)
        self._damage(copy.path / name, other.path / name, kind, random)
        uses = [self._evaluate, self._inspect] if number % 4 else [self._resume]
        uses += [self._start] if number % 10 == 1 else []
        for use in uses:
            try:
                wrong = use(copy, name, kind)
            except ToolchainError as error:
                wrong = "" if str(error) and "\n" not in str(error) else f"bad message {error!r}"
                self.outcomes[name, kind, "refused"] += 1
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
            else:
                self.outcomes[name, kind, "used"] += 1
            if wrong:
                return f"case {number}, {use.__name__}, {kind} of {name}: {wrong}"
        return None

    def _checkpoint_files(self, run: RunFolder) -> list[str]:
        files = sorted(f.name for f in run.checkpoints.iterdir() if f.name != "lock")
        return [f"checkpoints/{name}" for name in files]

    def _damage(self, file: Path, other: Path, kind: str, random: Random) -> None:
        data = file.read_bytes()
        file.unlink()
        if kind == "folder":
            file.mkdir()
        elif kind != "remove":
            file.write_bytes(DAMAGE[kind](data, other.read_bytes(), random))

    def _evaluate(self, run: RunFolder, name: str, kind: str) -> str:
        found = evaluation.evaluate(run.path, workers=0)
        if found.weights_sha256 != self.expected.weights_sha256:
            return "other weights were evaluated"
        if name in ("card.json", "settings.toml"):
            return ""  # an edited card or another place of the data may change what is predicted
        same = [row.predicted for row in found.results] == [
            row.predicted for row in self.expected.results
        ]
        return "" if same else "other predictions"

    def _inspect(self, run: RunFolder, name: str, kind: str) -> str:
        digest = inspect_model(run.path).sha256
        return "" if digest == self.expected.weights_sha256 else "another model was described"

    def _start(self, run: RunFolder, name: str, kind: str) -> str:
        networks.start_classifier(
            "resnet18",
            ("across", "aslant", "down"),
            str(run.path),
            dropout=0.0,
            progress=SilentReporter(),
        )
        return ""

    def _resume(self, run: RunFolder, name: str, kind: str) -> str:
        settings = settings_of_stopped_run(run)
        checkpoints = Checkpoints(run)
        checkpoint = checkpoints.load()
        if checkpoint is None:
            return ""
        TrainerState.from_checkpoint(checkpoint)
        restore_starting_weights(checkpoints, settings, 3)
        damaged = name.startswith("checkpoints/epoch")
        return "a damaged checkpoint was used" if damaged and self._differs(run, name) else ""

    def _differs(self, run: RunFolder, name: str) -> bool:
        return (run.path / name).read_bytes() != (self.stopped.path / name).read_bytes()


def main() -> int:
    """Run the cases; the exit status is 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        fuzzer = Fuzzer(Path(folder), options.seed)
        numbers = range(options.cases) if options.only is None else [options.only]
        until, done, failures = time.monotonic() + options.seconds, 0, []
        for number in numbers:
            if time.monotonic() > until:
                break
            done += 1
            if wrong := fuzzer.run(number):
                failures.append(wrong)
                print(wrong, flush=True)
            if done % 50 == 0:
                print(f"{done} cases, {len(failures)} failures", file=sys.stderr, flush=True)
    for (name, kind, outcome), count in sorted(fuzzer.outcomes.items()):
        print(f"{name:32} {kind:11} {outcome:8} {count}")
    print(f"{done} cases, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
