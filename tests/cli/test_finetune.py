"""The command `rtl finetune`: usage errors, precedence of options, `--lr-find`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT, Rtl
from toolchain.cli.main import run_command
from toolchain.errors import StopSignal
from toolchain.runs.settings_file import read_settings

SMALL = ("--weights", "none", "--size", "32", "--epochs", "1", "--workers", "0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--strategy", "two-stage", "--head-epochs", "8", "--epochs", "8"),
            "--head-epochs: 8 of 8 epochs leave none for the second stage",
        ),
        (
            ("--schedule", "one-cycle", "--warmup-epochs", "2"),
            "--warmup-epochs: one-cycle warms up by itself",
        ),
        (("--loss", "bce"), "bce is for --task multi-label"),
        (
            ("--task", "multi-label", "--loss", "cross-entropy"),
            "cross-entropy needs one class an image; multi-label takes bce",
        ),
        (("--task", "multi-label", "--balanced-sampling"), "for multi-label use class_weights"),
        (("--batch-size", "0"), "--batch-size: expected `int` >= 1"),
        (("--ema", "1"), "--ema: expected `float` < 1.0"),
        (("--freeze-until", "layer5"), "'layer5' is not layer1 to layer4, third, or a number"),
    ],
)
def test_options_that_contradict_each_other_are_usage_errors(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert run_command(["finetune", "photos", *words]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert hint.startswith("hint: --")


@pytest.mark.parametrize("mode", [("--try", "strategies"), ("--cv", "3")])
def test_a_stopped_comparison_says_how_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, mode: tuple[str, str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise StopSignal(15, "SIGTERM")

    monkeypatch.setattr("toolchain.cli.finetune.compared", stopped)
    words = ("finetune", "my photos", "-o", "runs/a", "--size", "32", *mode)
    assert run_command(list(words)) == 143
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: stopped by SIGTERM"
    assert shlex.split(hint.removeprefix("hint: ")) == ["rtl", *words]
    monkeypatch.setattr("toolchain.cli.finetune.compared", lambda *_, **__: {"budget": None})
    assert run_command([*words, "--budget", "5m"][: None if mode[0] == "--try" else -2]) == 0
    then = capsys.readouterr().err.splitlines()[-1]  # the output is for the training to come
    assert then == "next: rtl finetune 'my photos' -o runs/a --size 32"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--resume", "run"), "DATA can't be changed"),
        (("--views", "many"), "--views"),
    ],
)
def test_a_usage_error_without_a_way_out_names_the_help(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert run_command(["finetune", "photos", *words]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert message in error
    assert hint == "hint: rtl finetune --help"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--epochs", "9"), "--epochs"),
        (("--cache", "--lr-head", "1"), "--cache, --lr-head"),
        (("-o", "elsewhere", "--config", "my.toml"), "--config, --output"),
        (("--lr-find",), "--lr-find"),
    ],
)
def test_resume_refuses_other_settings_and_names_them(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], named: str
) -> None:
    assert run_command(["finetune", "--resume", "run", *words]) == 2
    error = capsys.readouterr().err.splitlines()[0]
    assert f"uses the run's own settings; {named} can't be changed" in error
    assert "(--workers and --device can)" in error


def test_neither_data_nor_a_run_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["finetune", "--lr-find"]) == 2
    assert "Missing argument 'DATA'" in capsys.readouterr().err


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_a_switch_on_the_command_line_overrides_the_config_in_both_directions(
    stripes: Path, tmp_path: Path, on: bool
) -> None:
    switches = {
        "cache": on,
        "class_weights": on,
        "balanced_sampling": on,
        "ema": 0.9 if on else 0.0,
    }
    opposite = "\n".join(f"{name} = {'false' if on else 'true'}" for name in list(switches)[:3])
    (tmp_path / "my.toml").write_text(f"{opposite}\nema = {0.0 if on else 0.9}\n")
    no = "" if on else "no-"
    words = [f"--{no}cache", f"--{no}class-weights", f"--{no}balanced-sampling"]
    words += ["--ema", str(switches["ema"])]
    command = ["finetune", str(stripes), "--config", str(tmp_path / "my.toml"), *SMALL, "--quiet"]
    assert run_command([*command, *words, "-o", str(tmp_path / "run")]) == 0
    stored = read_settings(tmp_path / "run" / "settings.toml", {})
    assert {name: getattr(stored, name) for name in switches} == switches


def test_missing_tensorboard_is_an_error_with_its_install_command_before_anything_is_written(
    rtl: Rtl, stripes: Path, tmp_path: Path
) -> None:
    (tmp_path / "shim").mkdir()
    missing = "raise ModuleNotFoundError(\"No module named 'tensorboard'\", name='tensorboard')\n"
    (tmp_path / "shim" / "tensorboard.py").write_text(missing)
    hidden = {"PYTHONPATH": f"{tmp_path / 'shim'}{os.pathsep}{ROOT}"}
    done = rtl("finetune", stripes, "--tensorboard", *SMALL, env=hidden)
    assert done.returncode == 9
    assert done.stderr.splitlines() == [
        "error: tensorboard is not installed",
        'hint: pip install "rtl-toolchain[tensorboard]"',
    ]
    assert not (tmp_path / "runs").exists()


@dataclass(frozen=True)
class LrSearch:
    """The folder and the output of an `--lr-find`."""

    folder: Path
    stdout: str
    stderr: str

    @property
    def next(self) -> list[str]:
        """The words of the command that it suggests."""
        last = self.stderr.splitlines()[-1]
        assert last.startswith("next: ")
        return shlex.split(last.removeprefix("next: "))


@pytest.fixture(scope="module")
def search(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> LrSearch:
    folder = tmp_path_factory.mktemp("search")
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), redirect_stdout(stdout), redirect_stderr(stderr):
        status = run_command(["finetune", str(stripes), *SMALL, "--lr-find", "--json"])
    assert status == 0, stderr.getvalue()
    return LrSearch(folder, stdout.getvalue(), stderr.getvalue())


def test_lr_find_suggests_a_rate_that_is_neither_tiny_nor_huge(search: LrSearch) -> None:
    found = json.loads(search.stdout)
    assert 1e-5 <= found["lr_head"] <= 1
    # The backbone's keeps the proportion of the settings, 1e-4 to 5e-3.
    assert found["lr_backbone"] == pytest.approx(found["lr_head"] / 50, rel=0.05)
    start, lowest = found["losses"][0], min(found["losses"])
    assert lowest < 0.9 * start, "the loss falls at no rate"
    assert found["rates"] == sorted(found["rates"])
    assert len(found["rates"]) == len(found["losses"])


def test_lr_find_writes_its_plot_and_its_figures_and_no_model(search: LrSearch) -> None:
    [run] = (search.folder / "runs").iterdir()
    assert run.name.endswith("-lr-find")
    assert {path.name for path in run.iterdir()} == {"lr-find.json", "lr-find.png"}
    assert json.loads((run / "lr-find.json").read_text()) == json.loads(search.stdout)
    with Image.open(search.folder / json.loads(search.stdout)["picture"]) as picture:
        assert picture.width > 400


def test_the_suggested_command_trains_at_the_suggested_rates(
    search: LrSearch, tmp_path: Path
) -> None:
    program, *words = search.next
    assert program == "rtl"
    assert run_command([*words, "-o", str(tmp_path / "run"), "--quiet"]) == 0
    stored = read_settings(tmp_path / "run" / "settings.toml", {})
    found = json.loads(search.stdout)
    assert (stored.lr_head, stored.lr_backbone) == (found["lr_head"], found["lr_backbone"])
    assert (stored.size, stored.epochs, stored.weights) == (32, 1, "none")


def test_a_run_is_evaluated_and_reported_where_that_is_asked_for(
    stripes: Path, rtl_here: Rtl, tmp_path: Path
) -> None:
    done = rtl_here("finetune", stripes, *SMALL, "--report", "-o", "run", "-q")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "activation map of" in page
    assert "nearest of 48 training images" in page
    assert "report  run/report.html" in done.stdout


def test_a_report_of_a_search_for_a_rate_is_refused(rtl_here: Rtl) -> None:
    done = rtl_here("finetune", "photos", "--lr-find", "--report")
    assert done.returncode == 2
    assert "--report is of a trained run" in done.stderr
