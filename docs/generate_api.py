"""The text of docs/api.md: signatures and docstrings of what `import toolchain` hands out."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import toolchain
import toolchain.api
from toolchain.adaptation.gate import Figures, Labelled
from toolchain.adaptation.result import Adapted
from toolchain.benchmarking.result import Benchmark
from toolchain.benchmarking.rows import ComparedModel, LeftOut, TargetResult
from toolchain.data.audit_result import Audit
from toolchain.errors import ToolchainError
from toolchain.evaluation.evaluate import Evaluation
from toolchain.evaluation.image_results import ImageResult
from toolchain.exporters.export_result import ExportResult
from toolchain.exporters.outcome import ExportedModel, RejectedModel
from toolchain.metrics.per_class import ClassMetrics
from toolchain.prediction.predictions import Predictions
from toolchain.progress import ProgressReporter
from toolchain.reporting.result import ReportFile
from toolchain.runs.selection import Measured, Selection
from toolchain.runtime.prediction import Prediction
from toolchain.runtime.predictor import Predictor
from toolchain.select.cross_validate import CrossValidation
from toolchain.training.artifacts import Summary
from toolchain.training.finetune_result import FinetuneResult
from toolchain.training.lr_find import LrFindResult
from toolchain.verification.inspection_result import Inspection
from toolchain.verification.result import Level, Verification

HEAD = """\
<!-- Made by docs/generate_api.py from the docstrings; `make docs` makes it again. -->

# Python API

What `import toolchain as rtl` hands out. [python.md](python.md) walks through it with real images.
The functions have the names, defaults and bounds of the commands' options; their results print what
the commands print, and are tables and pictures in a notebook. The top of [python.md](python.md)
lists what differs from the commands.

- `Location` is a path: a `str` or an `os.PathLike`.
- `Progress` is what shows how far a function is: `None` shows nothing, `True` lines and a bar (on a
  terminal, or in the notebook it runs in), and anything else is a `ProgressReporter` of your own.
- `Format`, `Split` and other named types have the choices of the option of the same name, and
  numbers its bounds: `rtl COMMAND --help` lists them.

In the examples `data` is a folder of images, `photo` one of them, `run` a run folder and `model` an
ONNX file exported from it.
"""
ORDER = (
    "check_data",
    "finetune",
    "resume",
    "find_lr",
    "cross_validate",
    "try_strategies",
    "evaluate",
    "export",
    "adapt",
    "verify",
    "bench",
    "report",
    "predict",
    "inspect",
)
"""The functions as one meets them."""
RESULTS = (
    Audit,
    FinetuneResult,
    Summary,
    LrFindResult,
    CrossValidation,
    Selection,
    Measured,
    Evaluation,
    ClassMetrics,
    ImageResult,
    ExportResult,
    ExportedModel,
    RejectedModel,
    Adapted,
    Figures,
    Labelled,
    Verification,
    Level,
    Benchmark,
    ComparedModel,
    LeftOut,
    TargetResult,
    Predictions,
    ReportFile,
    Inspection,
    ProgressReporter,
)
"""What the functions return and what those consist of, in their order."""
ERRORS = """
## Errors

Every error that a user can act on derives from `ToolchainError`; its `hint` says what to do, its
`exit_code` is what the command ends with. A wrong argument or setting is a `SettingsError`, which
names it and is a `ValueError` too. `Predictor` raises `TypeError` and `ValueError` for its options.

| error | exit status | |
|---|---|---|
"""


def api_page() -> str:
    """Return the whole page."""
    assert set(ORDER) == set(toolchain.api.__all__)
    parts = [HEAD, "\n## Functions\n"]
    parts += [function_entry(name, getattr(toolchain, name)) for name in ORDER]
    parts += ["\n## Predictor and Prediction\n", function_entry("Predictor", Predictor)]
    parts += [*methods(Predictor), *class_entry(Prediction)]
    parts += ["\n## Results\n", *(text for result in RESULTS for text in class_entry(result))]
    parts += [ERRORS, *error_rows()]
    return "".join(parts)


def function_entry(name: str, function: Any, level: int = 3) -> str:
    """Return the heading, signature and docstring of a function, or of a class that is called."""
    title = f"\n{'#' * level} `{name.rpartition('.')[2]}`\n\n"
    doc = prose(inspect.getdoc(function) or "")
    return f"{title}```python\n{signature(name, function)}\n```\n\n{doc}"


def class_entry(of: type) -> Iterator[str]:
    """Yield the docstring, the fields, the properties and the methods of a class."""
    yield f"\n### `{of.__name__}`\n\n{prose(inspect.getdoc(of) or '')}"
    bases = [base for base in reversed(of.__mro__) if base.__module__.startswith("toolchain.")]
    rows = [*(row for base in bases for row in fields(base)), *properties(of)]
    if rows:
        yield "\n| | type | |\n|---|---|---|\n"
        yield from (f"| `{name}` | `{kind}` | {doc} |\n" for name, kind, doc in rows)
    yield from methods(of)


def fields(of: type) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and description of each field that a class has itself.

    The description is the text below the field.
    """
    [body] = ast.parse(textwrap.dedent(inspect.getsource(of))).body
    assert isinstance(body, ast.ClassDef)
    for statement, below in zip(body.body, [*body.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign):
            continue
        doc = ""
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            doc = " ".join(str(below.value.value).split())
        yield ast.unparse(statement.target), cell(ast.unparse(statement.annotation)), doc


def properties(of: type) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and description of each public property."""
    for name, member in vars(of).items():
        if isinstance(member, property) and member.fget and not name.startswith("_"):
            kind = str(inspect.signature(member.fget).return_annotation)
            yield name, cell(kind), " ".join((inspect.getdoc(member) or "").split())


def methods(of: type) -> Iterator[str]:
    """Yield the entries of the public methods that a class has itself."""
    for name, member in vars(of).items():
        public = not name.startswith("_") or name == "__call__"
        if public and inspect.isfunction(member) and name != "blocks":
            yield function_entry(f"{of.__name__}.{name}", member, level=4)


def cell(kind: str) -> str:
    """Return a type as it may stand in a table of Markdown."""
    return kind.replace("|", "\\|")


def signature(name: str, function: Any) -> str:
    """Return a call with its parameters, a line each where one line is too long."""
    found = inspect.signature(function)
    result = "" if isinstance(function, type) else f" -> {found.return_annotation}"
    words: list[str] = []
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        if parameter.name != "self":
            words.append(parameter_text(parameter))
    line = f"{name}({', '.join(words)}){result}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){result}"


def parameter_text(parameter: inspect.Parameter) -> str:
    """Return a parameter with its type and default."""
    stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{stars}{parameter.name}: {parameter.annotation}{default}"


def prose(doc: str) -> str:
    """Return a docstring as Markdown: its examples become Python blocks."""
    blocks = re.split(r"\n\s*\n", doc)
    parts = [f"```pycon\n{block}\n```" if block.startswith(">>> ") else block for block in blocks]
    return "\n\n".join(parts) + "\n"


def error_rows() -> Iterator[str]:
    """Yield a row of the table for each error."""
    for name in toolchain.__all__:
        error = getattr(toolchain, name)
        if isinstance(error, type) and issubclass(error, ToolchainError):
            first = (inspect.getdoc(error) or "").splitlines()[0]
            yield f"| `{name}` | {error.exit_code} | {first} |\n"
