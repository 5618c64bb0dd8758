"""Options that do not exist: the nearest one is named, by spelling or by other tools' words."""

from __future__ import annotations

import pytest

from toolchain.cli.main import run_command


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--learning-rate", "--lr-head or --lr-backbone"),
        ("--lr", "--lr-head or --lr-backbone"),
        ("--batch", "--batch-size"),
        ("-b", "--batch-size"),
        ("--architecture", "--arch"),
        ("--model", "--arch"),
        ("--img-size", "--size"),
        ("--num-workers", "--workers"),
        ("--patience", "--plateau-patience or --early-stopping"),
        ("--output-dir", "--output"),
        ("--epoch", "--epochs"),
        ("--lr_head", "--lr-head"),
        ("--no-pretrained", "--weights"),
        ("--optimzer", "--optimizer"),
        ("--find-lr", "--lr-find"),
    ],
)
def test_an_unknown_option_of_finetune_gets_the_one_that_was_meant(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["finetune", "photos", typed, "1"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: no option '{typed}'; did you mean {meant}?"
    assert hint == "hint: rtl finetune --help"


def test_other_commands_name_their_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["evaluate", "run", "--batch", "3"]) == 2
    assert "did you mean --batch-size?" in capsys.readouterr().err
    assert run_command(["finetune", "--data", "photos"]) == 2
    assert "--data is for --resume; without it: rtl finetune DATA" in capsys.readouterr().err


def test_an_option_like_no_other_gets_no_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["finetune", "photos", "--zzz"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == "error: no option '--zzz'"
