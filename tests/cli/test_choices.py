"""A value that an option does not have: the nearest one that it has is named."""

from __future__ import annotations

import pytest

from toolchain.cli.main import run_command


@pytest.mark.parametrize(
    ("command", "option", "typed", "meant"),
    [
        ("finetune", "--device", "gpu", "cuda"),
        ("evaluate", "--device", "cuda:0", "cuda"),
        ("finetune", "--arch", "resnet99", "resnet101"),
        ("finetune", "--arch", "resnet20", "resnet18"),
        ("finetune", "--arch", "wide_resnet50", "wide_resnet50_2"),
        ("finetune", "--schedule", "onecycle", "one-cycle"),
        ("finetune", "--metric", "macro-f1", "macro_f1"),
        ("finetune", "--optimizer", "AdaM", "adam"),
        ("export", "--format", "onx", "onnx"),
        ("export", "--precision", "float16", "fp16"),
        ("evaluate", "--split", "validation", "val"),
        ("predict", "--format", "cvs", "csv"),
    ],
)
def test_the_value_that_may_be_meant_is_named(
    command: str, option: str, typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([command, "x", option, typed]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert f"'{typed}' is not one of" in error
    assert error.endswith(f"; did you mean '{meant}'?")
    assert hint == f"hint: rtl {command} --help"


def test_where_nothing_is_near_the_values_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["finetune", "x", "--optimizer", "lbfgs"]) == 2
    error, _ = capsys.readouterr().err.splitlines()
    assert error.endswith("'lbfgs' is not one of 'adam', 'adamw', 'sgd'.")
