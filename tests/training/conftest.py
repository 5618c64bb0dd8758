"""What the tests of stopped runs share: a sandbox, and a run in it that was killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.training.sandbox import EACH_EPOCH, HEAD, Sandbox, killed_in_step


@pytest.fixture(scope="session", autouse=True)
def weights_to_start_from(random_weights: Path) -> None:
    """Make the file that `small` and the sandbox's words name."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(tmp_path_factory.mktemp("sandbox"))


@pytest.fixture(scope="module")
def killed(sandbox: Sandbox, stripes: Path) -> Path:
    """A run that was killed in its third epoch, for copying; its checkpoint is of the second."""
    faults = [EACH_EPOCH, killed_in_step(8)]
    assert sandbox.finetune(stripes, *HEAD, faults=faults, output="killed").status == -9
    return sandbox.folder / "killed"


@pytest.fixture
def copy(sandbox: Sandbox, killed: Path, tmp_path: Path) -> str:
    """The name of a copy of that run."""
    name = f"copy of {tmp_path.name}"
    shutil.copytree(killed, sandbox.folder / name)
    return name


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write empty plots: drawing takes half the time of a short run, and other tests check it.

    A test has it, and not a module: what runs share is trained with its plots.
    """
    from toolchain.metrics import confusion_plot
    from toolchain.training.analysis import plots

    for module, name in ((plots, "draw_curves"), (confusion_plot, "draw_confusion")):
        monkeypatch.setattr(module, name, lambda *given: given[-1].touch())
