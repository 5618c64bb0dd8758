"""The whole tool from Python: the same names, defaults, bounds and calls as the commands."""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import toolchain
from tests.conftest import Rtl
from tests.prediction.pictures import LABELS, picture, tiny_model_file
from toolchain.api.arguments import several
from toolchain.errors import ImageError, ParityError, RefusedError, SettingsError
from toolchain.exporters.outcome import RejectedModel
from toolchain.prediction.predictions import Predictions
from toolchain.runs.settings import FinetuneSettings
from toolchain.runtime.prediction import Prediction

FUNCTIONS = {
    "finetune": ("finetune", None),
    "find_lr": ("finetune", None),
    "cross_validate": ("finetune", None),
    "try_strategies": ("finetune", None),
    "evaluate": ("evaluate", None),
    "report": ("report", None),
    "export": ("export", None),
    "adapt": ("adapt", None),
    "verify": ("verify", None),
    "bench": ("bench", None),
    "predict": ("predict", None),
    "inspect": ("inspect", None),
    "check_data": ("data", "check"),
}
"""Function → the module of its command, and the subcommand."""
REQUIRED = {"adapt": ("nowhere", "nowhere")}
"""Function → what it can't be called without, where that is more than one path."""
EVERY_COMMAND = {"json", "quiet", "traceback", "explain"}
SCREEN_AND_FILES = {"format", "output", "resume", "top", "ray", "no_cache"}
"""Of `rtl predict`: how rows are written, where they are computed; Python has `cache` instead."""
OTHER_FUNCTIONS = {"resume", "lr_find", "cv", "try", "report", "processes"}
"""Of `rtl finetune`: functions of their own, and a start of several processes, as torchrun's."""
COMMAND_ONLY = {
    "finetune": OTHER_FUNCTIONS,
    "find_lr": OTHER_FUNCTIONS,
    "cross_validate": {*OTHER_FUNCTIONS, "output"},
    "try_strategies": {*OTHER_FUNCTIONS, "output"},
    "predict": SCREEN_AND_FILES,
    "bench": {"markdown"},  # how it is written; in Python display.as_markdown(result.blocks())
    "evaluate": {"wrong"},  # a property of the result
}
PYTHON_ONLY = {
    "cross_validate": {"folds"},  # --cv N
    "evaluate": {"workers"},  # 0 keeps the work in this process, for a notebook or a debugger
    "predict": {"cache"},
}


def command_of(function: str) -> click.Command:
    module, subcommand = FUNCTIONS[function]
    command: click.Command = importlib.import_module(f"toolchain.cli.{module}").command
    if subcommand is None:
        return command
    assert isinstance(command, click.Group)
    return command.commands[subcommand]


def option_name(parameter: click.Parameter) -> str:
    """Return the name as one types it, with underscores; of an argument, its own."""
    if isinstance(parameter, click.Argument):
        return str(parameter.name)
    longest = max(parameter.opts, key=len)
    return longest.removeprefix("--").replace("-", "_")


def options_of(function: str) -> dict[str, click.Parameter]:
    """Return what the command takes and the function should: all but what is the command's own."""
    found = {option_name(p): p for p in command_of(function).params}
    left_out = EVERY_COMMAND | COMMAND_ONLY.get(function, set())
    return {name: p for name, p in found.items() if name not in left_out}


def parameters_of(function: str) -> dict[str, inspect.Parameter]:
    """Return the parameters of a function; for **settings, one for each setting."""
    found = dict(inspect.signature(getattr(toolchain, function)).parameters)
    if found.pop("settings", None):
        for setting in FinetuneSettings.__struct_fields__:
            found.setdefault(setting, inspect.Parameter(setting, inspect.Parameter.KEYWORD_ONLY))
    for name in {"progress"} | PYTHON_ONLY.get(function, set()):
        found.pop(name, None)
    return found


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_takes_what_its_command_takes(function: str) -> None:
    assert set(parameters_of(function)) == set(options_of(function))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_the_defaults_of_its_command(function: str) -> None:
    parameters = parameters_of(function)
    # Parsed with nothing but its arguments, an option has its default.
    command = command_of(function)
    words = [
        word
        for p in command.params
        if p.required
        for word in (["x"] if isinstance(p, click.Argument) else [p.opts[0], "x"])
    ]
    context = command.make_context(function, words)
    for name, option in options_of(function).items():
        default = parameters[name].default
        if isinstance(option, click.Argument) or default is inspect.Parameter.empty:
            continue  # what has to be given, and settings, whose defaults are declared once
        # Click turns `dynamic` into None; in Python it stays as it is typed.
        wanted: Any = option.default if name == "batch" else context.params[str(option.name)]
        if isinstance(option, click.Option) and option.multiple:
            assert several(default) == tuple(wanted or ()), name
        else:
            assert default == wanted, name


def beyond_bounds(option: click.Parameter) -> list[object]:
    """Return values that the command line refuses."""
    kind = option.type
    if isinstance(kind, click.Choice):
        return ["nonsense"]
    if isinstance(kind, click.IntRange | click.FloatRange):
        return [*([kind.min - 1] if kind.min is not None else []),
                *([kind.max + 1] if kind.max is not None else [])]  # fmt: skip
    return []


BOUNDED = [
    (function, name, value)
    for function in FUNCTIONS
    if FUNCTIONS[function] != ("finetune", None)  # its settings are declared once for all
    for name, option in options_of(function).items()
    for value in beyond_bounds(option)
]


@pytest.mark.parametrize(("function", "name", "value"), BOUNDED)
def test_a_value_that_the_command_line_refuses_is_an_error_that_names_it(
    function: str, name: str, value: object
) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: ") as error:
        getattr(toolchain, function)(*REQUIRED.get(function, ("nowhere",)), **{name: value})
    assert isinstance(error.value, ValueError)


class Called(Exception):
    """Ends a command where it has called its function."""


@pytest.mark.parametrize(
    ("story", "call", "typed"),
    [
        ("evaluation.evaluate:evaluate", lambda: toolchain.evaluate("run"), "evaluate run"),
        (
            "evaluation.evaluate:evaluate",
            lambda: toolchain.evaluate("run", data=Path("d"), split="val", batch_size=4),
            "evaluate run --data d --split val --batch-size 4",
        ),
        ("exporters.export:export", lambda: toolchain.export("run"), "export run"),
        (
            "exporters.export:export",
            lambda: toolchain.export(
                "run", ["onnx", "pt2"], batch=2, max_drop=0.5, calibration_images=9, output="x",
            ),
            "export run --format onnx --format pt2 --batch 2 --max-drop 0.5 "
            "--calibration-images 9 -o x",
        ),
        ("adaptation.adapt:adapt", lambda: toolchain.adapt("m", "f"), "adapt m --to f"),
        (
            "adaptation.adapt:adapt",
            lambda: toolchain.adapt("m", Path("f"), source="s", images=9, output="o.onnx"),
            "adapt m --to f --source s --images 9 -o o.onnx",
        ),
        ("verification.verify:verify", lambda: toolchain.verify("m"), "verify m"),
        (
            "verification.verify:verify",
            lambda: toolchain.verify("m", run="r", images=5, threads=2),
            "verify m --run r --images 5 --threads 2",
        ),
        ("benchmarking.bench:bench", lambda: toolchain.bench("m"), "bench m"),
        (
            "benchmarking.bench:bench",
            lambda: toolchain.bench(["m", "n"], batch_size=[2, 2, 4], threads=1, eager=False),
            "bench m n --batch-size 2 --batch-size 2 --batch-size 4 --threads 1 --no-eager",
        ),
        (
            "benchmarking.bench:bench",
            lambda: toolchain.bench("m", scenario=["offline", "server"], latency_bound=0.1),
            "bench m --scenario offline --scenario server --latency-bound 100ms",
        ),
        (
            "training.finetune:finetune",
            lambda: toolchain.finetune(Path("d"), "o", epochs=3, lr_head=1, class_weights=True),
            "finetune d -o o --epochs 3 --lr-head 1 --class-weights",
        ),
        (
            "training.finetune:resume",
            lambda: toolchain.resume("run", workers=0, device="cpu"),
            "finetune --resume run --workers 0 --device cpu",
        ),
        (
            "training.lr_find:find_lr",
            lambda: toolchain.find_lr("d", arch="resnet34"),
            "finetune d --lr-find --arch resnet34",
        ),
        ("verification.inspection:inspect_model", lambda: toolchain.inspect("m"), "inspect m"),
        (
            "checking.check:check_data",
            lambda: toolchain.check_data("d", task="multi-label"),
            "data check d --task multi-label",
        ),
    ],
)  # fmt: skip
def test_a_function_calls_what_its_command_calls_with_the_same_arguments(
    story: str, call: Callable[[], object], typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolchain.cli.main import run_command

    place, name = story.split(":")
    module = importlib.import_module(f"toolchain.{place}")
    signature = inspect.signature(getattr(module, name))
    calls: list[dict[str, Any]] = []

    def record(*args: Any, **options: Any) -> None:
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        calls.append({key: plain(value) for key, value in bound.arguments.items()})
        raise Called

    monkeypatch.setattr(module, name, record)
    with pytest.raises(Called):
        call()
    with pytest.raises(Called):
        run_command([*typed.split(), "--traceback"])
    assert calls[0] == calls[1]


def plain(value: object) -> object:
    """Return a value that compares equal whether it was a Path or text; reporters as nothing."""
    if isinstance(value, Path):
        return str(value)
    return None if hasattr(value, "track") else value


def test_no_room_takes_the_place_of_a_function() -> None:
    rooms = [p.parent.name for p in Path(toolchain.__file__).parent.glob("*/__init__.py")]
    for name in rooms:
        importlib.import_module(f"toolchain.{name}")
    for name in toolchain.__all__:
        assert callable(getattr(toolchain, name)), name


def test_the_package_lists_its_names_before_they_are_imported() -> None:
    assert dir(toolchain) == sorted(toolchain.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'finetuned'"):
        _ = toolchain.finetuned


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model beside a folder of three pictures, `three`, as the current folder."""
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        picture(tmp_path / "three" / f"{number}.png", number)
    return tiny_model_file(tmp_path)


def test_predictions_are_a_sequence_in_the_order_of_the_files(small: Path) -> None:
    found = toolchain.predict(small, "three")
    assert [(name, p.label) for name, p in found if isinstance(p, Prediction)] == [
        (f"three/{number}.png", LABELS[number]) for number in range(3)
    ]
    assert isinstance(found[1:], Predictions)
    assert len(found[1:]) == 2
    assert found.failed == []


def test_an_unreadable_image_has_its_error_in_place_and_an_empty_folder_is_no_row(
    small: Path,
) -> None:
    Path("bad.png").write_text("no image")
    Path("empty").mkdir()
    found = toolchain.predict(small, ["bad.png", Path("three/0.png"), "empty"])
    assert [name for name, _ in found] == ["bad.png", "three/0.png"]
    assert [type(result).__name__ for _, result in found] == ["ImageError", "Prediction"]
    assert [str(error) for error in found.failed] == ["bad.png: text, not an image"]
    assert [str(error) for error in found.not_found] == ["empty: no images in this folder"]
    assert repr(found).splitlines()[-1] == "empty: no images in this folder"
    assert "empty: no images in this folder" in found._repr_html_()
    assert found[:1].not_found == []


def test_on_error_fail_raises_the_first_error(small: Path) -> None:
    Path("bad.png").write_text("no image")
    with pytest.raises(ImageError, match=r"bad\.png: text, not an image"):
        toolchain.predict(small, ["bad.png", "three"], on_error="fail")
    Path("empty").mkdir()
    with pytest.raises(ImageError, match="empty: no images in this folder"):
        toolchain.predict(small, ["three", "empty"], on_error="fail")


def test_predict_takes_patterns_lists_and_an_open_predictor(small: Path) -> None:
    Path("list.txt").write_text("three/2.png\n")
    with toolchain.Predictor(small) as predictor:
        found = toolchain.predict(predictor, "three/[01].png", files_from="list.txt")
        assert [name for name, _ in found] == [f"three/{number}.png" for number in range(3)]
        assert predictor("three/0.png").label == "across"  # it is still open


class Counting:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.counts: dict[str, int] = {}

    def message(self, text: str) -> None:
        self.messages.append(text)

    def track(self, items: Any, label: str, total: int) -> Any:
        for item in items:
            self.counts[label] = self.counts.get(label, 0) + 1
            yield item


def test_a_reporter_of_ones_own_counts_the_images(small: Path) -> None:
    reporter = Counting()
    toolchain.predict(small, "three", progress=reporter)
    assert reporter.counts == {"predicting": 3}


@pytest.mark.parametrize("error", [ParityError("differs", hint="h"), RefusedError("too costly")])
def test_an_export_raises_as_the_command_ends_and_keeps_the_result(
    error: ParityError | RefusedError, monkeypatch: pytest.MonkeyPatch, rtl_here: Rtl
) -> None:
    from toolchain.exporters import export as story

    outcomes = [RejectedModel(Path("a.onnx"), error), RejectedModel(Path("b.onnx"), error)]
    monkeypatch.setattr(story, "export", lambda *args, **options: iter(outcomes))
    with pytest.raises(type(error), match=f"^2 of 2 files not kept: {error}$") as caught:
        toolchain.export("run")
    assert list(caught.value.result) == outcomes
    assert caught.value.hint == error.hint
    done = rtl_here("export", "run")
    assert done.returncode == error.exit_code
    assert f"error: {caught.value}" in done.stderr


def test_the_benchmark_of_a_run_folder_is_left_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from toolchain.benchmarking import bench as story

    monkeypatch.setattr(story, "bench", lambda *args, **options: {"version": 1})
    toolchain.bench(tmp_path, provider=["cpu", "cuda"])
    assert (tmp_path / "bench" / "cpu-cuda.json").is_file()
    toolchain.bench("model.onnx", output=tmp_path / "here.json")
    assert (tmp_path / "here.json").is_file()


EXAMPLES = [
    *(f"toolchain.api:{name}" for name in importlib.import_module("toolchain.api").__all__),
    "toolchain.runtime.predictor:Predictor",
    "toolchain.runtime.prediction:Prediction",
]


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_in_docstrings_run(
    example: str,
    run_folder: Path,
    model: Path,
    stripes: Path,
    quickly: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    place, name = example.split(":")
    photo = stripes / "val" / "down" / "00.jpg"
    predictor = toolchain.Predictor(model)
    names: dict[str, Any] = {
        "run": run_folder, "model": model, "photo": photo, "data": stripes,
        "predictor": predictor, "prediction": predictor(photo),
    }  # fmt: skip
    thing = getattr(importlib.import_module(place), name)
    found = doctest.DocTestFinder().find(thing, name, globs=names)
    runner = doctest.DocTestRunner()
    printed: list[str] = []
    for one in found:
        runner.run(one, out=printed.append, clear_globs=False)
    assert runner.tries > 0, f"{name} has no example"
    assert runner.failures == 0, "".join(printed)
