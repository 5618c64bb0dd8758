"""The rooms of docs/architecture.md and who may import whom, compared with the source."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "toolchain"

ORDER = (
    "errors",
    "version",
    "extras",
    "files",
    "printable",
    "durations",
    "display",
    "glossary",
    "progress",
    "screen",
    "progress_bar",
    "openmp",
    "runtime",
    "machine",
    "data",
    "networks",
    "metrics",
    "runs",
    "backends",
    "training",
    "select",
    "evaluation",
    "checking",
    "verification",
    "adaptation",
    "exporters",
    "benchmarking",
    "prediction",
    "reporting",
    "cache",
    "doctor",
    "demo",
    "api",
    "cli",
)
"""A room imports rooms before it only."""
SUB_ROOMS = {
    "runtime": ("image", "onnxfile", "modelcache", "engines"),
    "training": ("optim", "inputs", "features", "alignment", "analysis", "trackers"),
    "verification": ("levels", "layers", "references"),
    "exporters": ("writers", "precision"),
    "benchmarking": ("figures", "scenarios", "processes"),
    "reporting": ("reading", "charts", "images", "parts"),
    "demo": ("drawing",),
}
"""Rooms within rooms, in order: each imports, of these, only those before it."""
STORIES = {
    "toolchain.training.finetune",
    "toolchain.training.lr_find",
    "toolchain.select.cross_validate",
    "toolchain.select.try_strategies",
    "toolchain.evaluation.evaluate",
    "toolchain.checking.check",
    "toolchain.verification.verify",
    "toolchain.adaptation.adapt",
    "toolchain.exporters.export",
    "toolchain.benchmarking.bench",
    "toolchain.prediction.predict",
    "toolchain.reporting.report",
    "toolchain.demo.demo",
}
"""The files that read from top to bottom what a command does."""
CALL_STORIES = ("demo", "api", "cli")
"""Rooms that may call a story; no story calls another."""
APART = {
    "verification": ("training", "evaluation"),
    "adaptation": ("training", "evaluation"),
    "exporters": ("training", "evaluation"),
    "benchmarking": ("training", "evaluation"),
}
"""Rooms that stand beside others, not above them."""
PUBLIC = "toolchain"
"""The package itself exports the errors, the predictor and the functions of `api`."""
EXPORTED = {
    "toolchain.api",
    "toolchain.runtime.predictor",
    "toolchain.runtime.prediction",
}
"""Modules whose names it exports, imported when a name is first used."""
RUNTIME_PACKAGES = {"numpy", "PIL", "onnxruntime", "msgspec", "platformdirs"}
RUNTIME_EXTRAS = {"pillow_heif", "onnxruntime_ep_openvino"}
"""Packages that it imports inside a function, where their extra is installed."""
HEAVY = ("torch", "torchvision", "onnx")


class Import(NamedTuple):
    """One imported module, and how it is imported."""

    by: str
    module: str
    in_function: bool
    for_types: bool

    @property
    def room_of_importer(self) -> str:
        return room(self.by)

    @property
    def room(self) -> str:
        """The room of the imported module; for other packages, their name."""
        return room(self.module) if self.is_own else self.module.partition(".")[0]

    @property
    def is_own(self) -> bool:
        """Whether it is a module of rtl: the standard library has a `select` too."""
        return self.module == PUBLIC or self.module.startswith(f"{PUBLIC}.")

    @property
    def runs_on_import(self) -> bool:
        return not self.in_function and not self.for_types


def room(module: str) -> str:
    """Return the room that a module of rtl lies in; `python -m toolchain` is the command line."""
    parts = module.split(".")
    if len(parts) == 1:
        return PUBLIC
    return "cli" if parts[1] == "__main__" else parts[1]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def walk(node: ast.AST, by: str, in_function: bool, for_types: bool) -> Iterator[Import]:
    """Yield every import below a node, those inside functions too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(by, alias.name, in_function, for_types) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{by} line {child.lineno}: a relative import"
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                module = full if full in SOURCES else str(child.module)
                yield Import(by, module, in_function, for_types)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            yield from walk(child, by, in_function or function, for_types or types)


IMPORTS = [found for name, tree in TREES.items() for found in walk(tree, name, False, False)]
OWN_IMPORTS = [found for found in IMPORTS if found.is_own]


def lines(imports: list[Import]) -> list[str]:
    return [f"{found.by} imports {found.module}" for found in imports]


def test_imports_are_found_in_functions_and_under_type_checking() -> None:
    assert Import("toolchain.cli.predict", "toolchain.runtime.predictor", False, False) in IMPORTS
    assert Import("toolchain.cli.finetune", "toolchain.training.finetune", True, False) in IMPORTS
    assert Import("toolchain.runtime.session", "onnxruntime", False, True) in IMPORTS


def test_every_module_lies_in_a_known_room() -> None:
    assert {room(name) for name in SOURCES} <= {*ORDER, PUBLIC}


def test_a_room_imports_rooms_before_it_only() -> None:
    wrong = [
        found
        for found in OWN_IMPORTS
        if PUBLIC not in (found.room, found.room_of_importer)
        and ORDER.index(found.room) > ORDER.index(found.room_of_importer)
    ]
    assert lines(wrong) == []


def test_the_package_itself_imports_the_errors_and_the_predictor_only() -> None:
    wrong = [
        found
        for found in IMPORTS
        if found.by == PUBLIC
        and found.room not in {"errors", "version", *sys.stdlib_module_names}
        and (found.module not in EXPORTED or found.runs_on_import)
    ]
    assert lines(wrong) == []


def sub_room(module: str) -> str | None:
    """Return the sub-room that a module lies in; None for the files of a room itself."""
    _, *parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in SUB_ROOMS.get(parts[0], ()) else None


def test_every_folder_in_a_room_is_a_known_sub_room() -> None:
    folders = {path.parent.relative_to(PACKAGE).parts for path in PACKAGE.rglob("*/*/*.py")}
    assert folders == {(name, sub) for name, subs in SUB_ROOMS.items() for sub in subs}


def test_a_sub_room_imports_sub_rooms_before_it_only() -> None:
    wrong = []
    for found in OWN_IMPORTS:
        by, of = sub_room(found.by), sub_room(found.module)
        if by and of and found.room == found.room_of_importer:
            order = SUB_ROOMS[found.room]
            wrong += [found] if order.index(of) > order.index(by) else []
    assert lines(wrong) == []


def test_no_story_is_imported_by_another_room_or_a_file_of_its_own() -> None:
    wrong = [
        found
        for found in OWN_IMPORTS
        if found.module in STORIES
        and found.room_of_importer not in CALL_STORIES
        and not found.for_types
    ]
    assert lines(wrong) == []


@pytest.mark.parametrize("name", APART)
def test_a_room_stays_apart_from_those_beside_it(name: str) -> None:
    wrong = [f for f in OWN_IMPORTS if f.room_of_importer == name and f.room in APART[name]]
    assert lines(wrong) == []


@pytest.mark.parametrize("last", ["doctor", "demo", "api", "cli"])
def test_the_last_rooms_are_imported_by_the_command_line_alone(last: str) -> None:
    # The package itself exports the functions of `api`; what else it imports is tested above.
    allowed = (last, "cli", PUBLIC) if last == "api" else (last, "cli")
    wrong = [f for f in OWN_IMPORTS if f.room == last and f.room_of_importer not in allowed]
    assert lines(wrong) == []


def test_no_file_imports_another_in_a_circle() -> None:
    files = {name: {f.module for f in OWN_IMPORTS if f.by == name} - {PUBLIC} for name in SOURCES}
    graphlib.TopologicalSorter(files).prepare()  # CycleError names the files of a circle


def test_runtime_imports_the_errors_and_its_five_packages_only() -> None:
    own = {"errors", "version", "extras", "files", "runtime"}
    allowed = {*own, *RUNTIME_PACKAGES, *sys.stdlib_module_names}
    found = [f for f in IMPORTS if f.room_of_importer == "runtime" and f.room not in allowed]
    assert lines([f for f in found if f.runs_on_import or f.room not in RUNTIME_EXTRAS]) == []


def test_what_a_device_runs_imports_torch_inside_functions_only() -> None:
    wrong = [
        found
        for found in IMPORTS
        if found.room_of_importer
        in ("backends", "verification", "adaptation", "benchmarking", "prediction")
        and (found.room in HEAVY or found.room == "networks")
        and found.runs_on_import
    ]
    assert lines(wrong) == []


def calls_that_print() -> Iterator[tuple[str, str]]:
    """Yield (room, call) of each call that writes to the terminal, rich's consoles included."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                function = ast.unparse(node.func)
                if function in ("print", "click.echo", "click.secho") or function.endswith(
                    ".print"
                ):
                    yield room(name), f"{name} line {node.lineno}: {function}"


def test_only_the_command_line_and_the_progress_bar_write_to_the_terminal() -> None:
    found = list(calls_that_print())
    assert {room_name for room_name, _ in found} >= {"cli", "progress_bar"}
    assert [call for room_name, call in found if room_name not in ("cli", "progress_bar")] == []


def test_modules_are_named_for_what_they_do() -> None:
    vague = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}
    assert [name for name in SOURCES if vague & set(name.split("."))] == []


def test_every_room_stands_in_the_table_of_the_architecture_page() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    order = [name for name in table if name in ORDER]
    assert order == list(ORDER)
    sub_rooms = [f"{room_name}/{sub}" for room_name, subs in SUB_ROOMS.items() for sub in subs]
    assert set(sub_rooms) <= set(table)


def test_files_that_the_architecture_page_names_exist() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z]+/)+[a-z_]+\.py)`", page))
    assert [name for name in sorted(named) if not (PACKAGE / name).is_file()] == [
        "tests/test_architecture.py"
    ]


def loaded_by(module: str, *suspects: str) -> str:
    """Return which of the suspects a fresh interpreter has loaded after one import."""
    code = f"import sys, {module}; print([m for m in {suspects} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "toolchain",
        "toolchain.api",
        "toolchain.cli.main",
        "toolchain.benchmarking.bench",
        "toolchain.runtime.predictor",
        "toolchain.verification.verify",
        "toolchain.adaptation.adapt",
    ],
)
def test_light_modules_do_not_import_torch(module: str) -> None:
    assert loaded_by(module, *HEAVY) == "[]"


@pytest.mark.parametrize("module", ["toolchain", "toolchain.runtime.predictor", "toolchain.api"])
def test_what_an_app_imports_loads_neither_click_nor_rich(module: str) -> None:
    assert loaded_by(module, "click", "rich") == "[]"


def test_the_package_alone_loads_neither_numpy_nor_onnxruntime() -> None:
    assert loaded_by("toolchain", "numpy", "PIL", "onnxruntime", "msgspec") == "[]"


def test_the_command_line_loads_neither_numpy_nor_onnxruntime() -> None:
    assert loaded_by("toolchain.cli.main", "numpy", "PIL", "onnxruntime", "rich") == "[]"
