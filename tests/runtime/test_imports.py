"""What importing the package and the predictor loads."""

from __future__ import annotations

import subprocess
import sys

import pytest


def in_a_fresh_interpreter(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    return set(in_a_fresh_interpreter(code).split())


def test_importing_toolchain_loads_nothing_heavy() -> None:
    heavy = {"numpy", "PIL", "onnxruntime", "msgspec", "click", "rich", "torch", "onnx"}
    assert modules_after("import toolchain") & heavy == set()


@pytest.mark.parametrize(
    "statement", ["import toolchain.runtime.predictor", "from toolchain import Predictor"]
)
def test_importing_the_predictor_loads_neither_torch_nor_the_command_line(statement: str) -> None:
    loaded = modules_after(statement)
    assert {"numpy", "PIL"} <= loaded
    assert loaded & {"torch", "torchvision", "onnx", "click", "rich"} == set()


def test_naming_a_provider_does_not_load_what_chooses_between_several() -> None:
    code = (
        "import sys, toolchain.runtime.predictor; "
        "from toolchain.runtime.session import provider_name; "
        "print(provider_name('cpu'), any('engines' in name for name in sys.modules))"
    )
    assert in_a_fresh_interpreter(code) == "CPUExecutionProvider False"


def test_predictor_is_imported_from_the_package() -> None:
    code = "import toolchain; print(toolchain.Predictor.__module__, toolchain.Prediction.__name__)"
    assert in_a_fresh_interpreter(code) == "toolchain.runtime.predictor Prediction"


def test_every_public_name_can_be_imported() -> None:
    import toolchain

    assert all(getattr(toolchain, name) for name in toolchain.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Predicter'"):
        toolchain.Predicter  # noqa: B018
