"""Fixtures of all tests: a small data set, a run trained on it, its model files, the command."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from PIL import Image

from tests.leftovers import own_temporary_folder
from tests.made_once import made_once
from tests.untraced import import_untraced

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from tests.verification.planting import ExportedRun
    from toolchain.exporters.variants import Variant

# Before anything loads torch: the suite must not crawl where the machine is shared.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if "PYTEST_XDIST_WORKER" in os.environ:  # there is a worker for each core, see the Makefile
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A process under nohup, or in the background of a script, ignores these, and so would the commands
# that the tests start.
for ignored, handler in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
):
    if signal.getsignal(ignored) == signal.SIG_IGN:
        signal.signal(ignored, handler)

# What training keeps between runs must not come from, or go to, the user's own cache. Each process
# that runs tests has one of its own.
TEMPORARY = own_temporary_folder()
os.environ["RTL_CACHE_DIR"] = f"{TEMPORARY.name}/cache"
Path(os.environ["RTL_CACHE_DIR"]).mkdir()

if sys.gettrace() is not None and "PYTEST_XDIST_WORKER" in os.environ:
    import_untraced()

pytest_plugins = ["tests.environments", "tests.running"]

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RTL_SHARED", ROOT.parent / "shared"))

RANDOM_WEIGHTS = Path(TEMPORARY.name) / "random-resnet18.safetensors"
"""Random weights of a ResNet-18: quick to train a head on, where `--weights none` is refused."""

Rtl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real photographs and weights; tests that need it are skipped without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"real photographs and weights are not at {SHARED} (set RTL_SHARED)")
    return SHARED


def draw_stripes(path: Path, label: str, seed: int) -> None:
    """Write a noisy picture whose stripes run across, down or aslant: three easy classes."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(60, 100, size=2))
    y, x = np.mgrid[:height, :width]
    along = {"across": y, "down": x, "aslant": (x + y) / 1.4}[label]
    wave = 127 + 90 * np.sin(along / 3.0 + rng.uniform(0, 6))
    colour = rng.uniform(0.6, 1.0, size=3)
    noise = rng.normal(0, 12, size=(height, width, 3))
    pixels = np.clip(wave[:, :, None] * colour + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=90)


@pytest.fixture(scope="session")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of train/ (3 × 16 images) and val/ (3 × 8), which no test changes."""
    return made_once(tmp_path_factory, "stripes", draw_data_set)


def draw_data_set(folder: Path) -> None:
    """Draw the training and validation images of the three classes."""
    for split, count, offset in (("train", 16, 0), ("val", 8, 1000)):
        for number, label in enumerate(("across", "aslant", "down")):
            for i in range(count):
                draw_stripes(folder / split / label / f"{i:02}.jpg", label, offset + number + 3 * i)


@pytest.fixture(scope="session")
def random_weights() -> Path:
    """The file RANDOM_WEIGHTS, made if it is not there."""
    if not RANDOM_WEIGHTS.exists():
        import torch
        from safetensors.torch import save_file

        from toolchain.networks.resnet import build_network

        with torch.random.fork_rng():
            torch.manual_seed(0)
            save_file(build_network("resnet18", 2).state_dict(), RANDOM_WEIGHTS)
    return RANDOM_WEIGHTS


@pytest.fixture(scope="session")
def shared_run(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `run_folder` as it was trained, which no test changes."""
    return made_once(tmp_path_factory, "run", partial(train, stripes)) / "stripes"


def train(stripes: Path, folder: Path) -> None:
    """Train the run of these tests in a folder, and evaluate it."""
    from toolchain.evaluation.evaluate import evaluate
    from toolchain.runs.settings_file import read_settings
    from toolchain.training.finetune import finetune

    settings = read_settings(
        None,
        {
            "data": str(stripes),
            "weights": "none",
            "strategy": "full",
            "size": 64,
            "epochs": 4,
            "batch_size": 16,
            "lr_head": 1e-3,
            "lr_backbone": 1e-3,
            "augment": "none",
            "workers": 0,
        },
    )
    finetune(settings, folder / "stripes")
    evaluate(folder / "stripes", workers=0)


@pytest.fixture(scope="session")
def run_folder(shared_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained from scratch on the stripes, at 64 pixels; it is evaluated too."""
    return shutil.copytree(shared_run, tmp_path_factory.mktemp("runs") / "stripes")


@pytest.fixture(scope="session")
def exported_run_folder(shared_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run with its ONNX file alone, which no test changes."""
    made = made_once(tmp_path_factory, "onnx", partial(export_onnx, shared_run))
    return made / "stripes"


def export_onnx(shared_run: Path, folder: Path) -> None:
    """Export a copy of a run to ONNX."""
    from toolchain.exporters.export import accepted_models, export
    from toolchain.exporters.variants import Variant

    run = shutil.copytree(shared_run, folder / "stripes")
    accepted_models(export(run, [Variant("onnx")]))


@pytest.fixture(scope="session")
def exported(
    run_folder: Path, exported_run_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The export folder of that run, with model.onnx and model.torchscript.pt."""
    made = made_once(tmp_path_factory, "exported", partial(add_torchscript, exported_run_folder))
    return shutil.copytree(made / "stripes" / "export", run_folder / "export")


def add_torchscript(exported_run_folder: Path, folder: Path) -> None:
    """Export a copy of a run to TorchScript too: the two formats that most tests read."""
    from toolchain.exporters.export import accepted_models, export
    from toolchain.exporters.variants import Variant

    run = shutil.copytree(exported_run_folder, folder / "stripes")
    accepted_models(export(run, [Variant("torchscript")]))


@pytest.fixture(scope="session")
def exported_as(
    shared_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Variant], Path]:
    """Return that run's file of a variant, alone with its report and references in a folder.

    It is made when it is first asked for, and no test changes it.
    """
    from toolchain.exporters.export import accepted_models, export

    def file(variant: Variant) -> Path:
        name = "-".join(str(value) for value in dataclasses.astuple(variant))

        def make(folder: Path) -> None:
            with pytest.MonkeyPatch.context() as patch:
                verify_quickly(patch)
                accepted_models(export(shared_run, [variant], folder, images=3))

        files = made_once(tmp_path_factory, name, make).iterdir()
        [path] = (path for path in files if path.suffix not in (".json", ".npz"))
        return path

    return file


@pytest.fixture(scope="session")
def model(exported_run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run as an ONNX file, in a copy of the run that has no other file of a model."""
    copied = tmp_path_factory.mktemp("onnx") / "stripes"
    return shutil.copytree(exported_run_folder, copied) / "export/model.onnx"


@pytest.fixture(scope="session")
def exported_run(shared_run: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportedRun:
    """A run with a temperature and its ONNX file; shared, so faults are planted in copies."""
    from tests.verification.planting import ExportedRun
    from toolchain.runs.runfolder import RunFolder
    from toolchain.runs.trained_run import TrainedRun
    from toolchain.verification.references.trained_model import open_trained_reference

    made = made_once(
        tmp_path_factory, "with-temperature", partial(export_with_temperature, shared_run)
    )
    run = RunFolder(shutil.copytree(made / "run", tmp_path_factory.mktemp("mutations") / "run"))
    trained = open_trained_reference(TrainedRun.open(run.path), images=6)
    return ExportedRun(run, run.model_file("onnx"), trained)


def export_with_temperature(shared_run: Path, folder: Path) -> None:
    """Export a copy of a run whose card has a temperature."""
    from tests.verification.planting import TEMPERATURE
    from toolchain.exporters.export import accepted_models, export
    from toolchain.runs.runfolder import RunFolder

    run = RunFolder(shutil.copytree(shared_run, folder / "run"))
    run.write_card(msgspec.structs.replace(run.read_card(), temperature=TEMPERATURE))
    with pytest.MonkeyPatch.context() as patch:
        verify_quickly(patch)
        accepted_models(export(run.path, images=6))


@pytest.fixture(autouse=True, scope="session")
def few_batch_sizes() -> Iterator[None]:
    """Verify with three sizes of a batch: all of them take seconds of each verification.

    tests/verification/levels/test_batches.py has the others.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toolchain.verification.levels.batches.SIZES", (2, 5, 33))
        yield


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify with one session and two sizes of a batch: all of them take most of the time."""
    verify_quickly(monkeypatch)


def verify_quickly(patch: pytest.MonkeyPatch) -> None:
    """Do what the fixture `quickly` does, within a `patch`."""
    from toolchain.runtime.session import open_session
    from toolchain.verification.levels import batches, sessions

    def one_session(path: Path, provider: str) -> Iterator[tuple[str, InferenceSession]]:
        yield f"{provider}, threads 1", open_session(path, provider=provider, threads=1)

    patch.setattr(sessions, "users_sessions", one_session)
    patch.setattr(batches, "SIZES", (2, 5))


@pytest.fixture
def rtl(tmp_path: Path) -> Rtl:
    """Run the command line in a process of its own, in an empty folder."""

    def run(*words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "toolchain", *(str(word) for word in words)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def rtl_here(tmp_path: Path) -> Rtl:
    """Run the command line in this process, which has torch loaded already, in an empty folder.

    For the output and the files of a command; tests in which the process matters need `rtl`.
    """
    from toolchain.cli.main import run_command

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        typed = [str(word) for word in words]
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "12")
        with (
            contextlib.chdir(tmp_path),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = run_command(typed)
        written = (stream.buffer.getvalue().decode() for stream in (out, err))
        return subprocess.CompletedProcess(typed, status, *written)

    return run


def tree_digest(folder: Path) -> str:
    """Return a digest of every name, size, time and byte under a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        digest.update(f"{path.relative_to(folder)} {status.st_mode} {status.st_mtime_ns}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()
