"""Arguments of the Python API: what is not allowed is an error that names it, before any work."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toolchain
import toolchain.api
from tests.conftest import Rtl
from toolchain.api.arguments import Count, Seconds, checked, checked_each
from toolchain.errors import DataError, SettingsError

WRONG: dict[str, dict[str, Any]] = {
    "device": {"device": "tpu"},
    "batch_size": {"batch_size": None},
    "batch": {"batch": "two"},
}
"""Arguments that a type checker refuses, and people pass."""

OF_ANOTHER_TYPE: dict[str, tuple[object, ...]] = {
    "Location": (3, b"bytes", "a\0b"),
    "Sequence[Location]": (3, [3], "a\0b"),
    "Progress": ("yes", 1, object()),
    "bool": ("no", 1),
    "str": (3, None),
    "int": ("a", True, 1.5),
    "float": ("a", True),
}
"""Type in an annotation → values that are not of this type."""


def values_of_another_type(annotation: str) -> tuple[object, ...]:
    """Return what the last of the types in an annotation refuses, which takes its alternatives."""
    plain = annotation.removesuffix(" | None")
    if "Sequence[Location]" in plain:
        return OF_ANOTHER_TYPE["Sequence[Location]"]
    values = OF_ANOTHER_TYPE.get(plain.partition(" | ")[0], (object(),))
    return tuple(value for value in values if value is not None or plain == annotation)


TYPED = [
    (function, parameter.name, value)
    for function in toolchain.api.__all__
    for parameter in inspect.signature(getattr(toolchain, function)).parameters.values()
    if parameter.kind is not parameter.VAR_KEYWORD
    for value in values_of_another_type(parameter.annotation)
]


@pytest.mark.parametrize(("function", "name", "value"), TYPED)
def test_a_value_of_another_type_is_an_error_that_names_the_argument(
    function: str, name: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    called = getattr(toolchain, function)
    needed = [
        parameter.name
        for parameter in inspect.signature(called).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    of_data = ("finetune", "find_lr", "cross_validate", "try_strategies")
    first = dict.fromkeys(of_data, "data") | {"predict": "inputs"}
    needed += [first[function]] if function in first else []
    with pytest.raises(SettingsError, match=f"^{name}: "):
        called(**dict.fromkeys(needed, "nowhere") | {name: value})
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_are_taken_for_those_of_python() -> None:
    one = np.int64(1)
    assert isinstance(checked("threads", one, Count), int)
    assert isinstance(checked("seconds", np.float32(0.5), Seconds), float)
    assert isinstance(checked("cache", np.bool_(True), bool), bool)
    assert checked_each("batch_size", np.array([1, 8]), Count) == (1, 8)
    with pytest.raises(toolchain.DataError, match="nowhere: no such folder"):
        toolchain.finetune("nowhere", epochs=one, lr_head=np.float32(0.5), weights="none")
    with pytest.raises(SettingsError, match="epochs: expected `int` >= 1, got 0"):
        toolchain.finetune("nowhere", epochs=np.int64(0))


@pytest.mark.parametrize("function", ["bench", "export", "find_lr"])
def test_an_output_that_cant_be_written_is_an_error_before_any_work(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    first: object = "nowhere"
    if function == "export":
        first = request.getfixturevalue("run_folder")
    with pytest.raises(DataError, match=r"^file/.* can't be written: .*file is not a folder$"):
        getattr(toolchain, function)(first, output="file/here")


def test_a_benchmark_that_cant_be_written_is_an_error_of_the_command_too(
    tmp_path: Path, rtl_here: Rtl
) -> None:
    (tmp_path / "folder").mkdir()
    done = rtl_here("bench", "nowhere", "-o", "folder")
    assert done.returncode == DataError.exit_code
    assert done.stderr.splitlines() == ["error: folder is a folder, not a file"]


@pytest.mark.parametrize("seconds", ["inf", "nan"])
def test_the_command_line_refuses_seconds_without_end(seconds: str, rtl_here: Rtl) -> None:
    done = rtl_here("bench", "nowhere", "--seconds", seconds)
    assert done.returncode == 2
    assert f"{seconds} is not a finite number" in done.stderr


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: toolchain.finetune("nowhere", epochs=0), "epochs: expected `int` >= 1, got 0$"),
        (lambda: toolchain.finetune("nowhere", lr_head=inf), "lr_head: expected a finite number"),
        (lambda: toolchain.finetune("nowhere", nothing=1), "unknown setting 'nothing'; known are"),
        (lambda: toolchain.finetune("nowhere", epoch=1), "unknown setting 'epoch'; did you mean"),
        (lambda: toolchain.finetune(), "data: the folder of images is not given"),
        (lambda: toolchain.finetune("x", config="no.toml"), "no.toml: no such file"),
        (lambda: toolchain.find_lr("nowhere", arch="vgg"), "'vgg'; known are resnet18, resnet34"),
        (lambda: toolchain.finetune("x", arch="resnet19"), "did you mean 'resnet18'"),
        (
            lambda: toolchain.resume("nowhere", **WRONG["device"]),
            "device: 'tpu' is not one of 'auto'",
        ),
        (lambda: toolchain.resume("nowhere", workers=-2), "workers: -2 is not"),
        (lambda: toolchain.evaluate("nowhere", workers=-2), "workers: -2 is not"),
        (lambda: toolchain.evaluate("nowhere", **WRONG["batch_size"]), "batch_size: None is not"),
        (lambda: toolchain.export("nowhere", batch=0), "batch: 0 is not"),
        (
            lambda: toolchain.export("nowhere", **WRONG["batch"]),
            "batch: 'two' is not 'dynamic' or `int` >= 1",
        ),
        (lambda: toolchain.export("nowhere", []), "format: none is given"),
        (lambda: toolchain.export("nowhere", "pt2", precision="int8"), "int8 is for onnx"),
        (lambda: toolchain.bench([]), "models: none is given"),
        (lambda: toolchain.bench("m", seconds=inf), "seconds: inf is not a finite number"),
        (lambda: toolchain.bench("m", seconds=nan), "seconds: nan is not"),
        (lambda: toolchain.predict("m", "-"), "inputs: '-' is standard input for the command only"),
        (lambda: toolchain.predict("m", files_from="-"), "files_from: '-' is standard input"),
        (lambda: toolchain.predict("nowhere"), "inputs: none is given"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[], object], words: str) -> None:
    with pytest.raises(SettingsError, match=words.replace("(", "\\(")):
        call()
