"""Options that several commands share, and one option for each field of the settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from toolchain.cli.choices import Choice
from toolchain.data.splits import Splitting
from toolchain.durations import seconds_of
from toolchain.runs.settings import SPLITTING, FinetuneSettings, describe
from toolchain.runs.settings_groups import fields_of, grouped_settings
from toolchain.runtime.option_checks import MAX_THREADS

Function = TypeVar("Function", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A FloatRange that refuses `inf` and `nan`, which pass click's comparison with the bounds."""

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number: float = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return float(super().convert(value, param, ctx))


class Duration(click.ParamType[float]):
    """A length of time such as 200ms, 30s or 5m; its value is in seconds."""

    name = "time"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        if isinstance(value, float):
            return value
        try:
            return seconds_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Percentage(click.ParamType[float]):
    """A number of per cent, with or without the sign."""

    name = "per cent"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        try:
            number = float(str(value).strip().removesuffix("%"))
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            self.fail(f"'{value}' is not a number of per cent, such as 5%", param, ctx)
        return number


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON (docs/json.md)."
)
explain_option = click.option(
    "--explain", is_flag=True, help="Say in one line what each figure means (docs/glossary.md)."
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Show results and errors only.")
provider_option = click.option(
    "--provider",
    default="cpu",
    show_default=True,
    help="onnxruntime provider: cpu, cuda, openvino, or its own name; used or refused, never "
    "replaced. auto takes the fastest one that gives the same answers.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1, max=MAX_THREADS),
    help="Threads; by default the cores that may be used.",
)
data_option = click.option("--data", help="Data folder of the run, where it was moved.")
images_option = click.option(
    "--images",
    type=click.IntRange(min=1),
    default=400,
    show_default=True,
    help="Largest number of validation images that are compared from their bytes.",
)
device_option = click.option(
    "--device",
    type=Choice(["auto", "cuda", "mps", "cpu"]),
    default="auto",
    show_default=True,
    help="Where torch runs.",
)


def traceback_option(function: Function) -> Function:
    """Add --traceback to the help; `cli.main` acts on it before the options are parsed."""
    decorate = click.option(
        "--traceback", is_flag=True, expose_value=False, help="Show the whole error."
    )
    return decorate(function)


def batch_size_option(default: int) -> Callable[[Function], Function]:
    """Return the option --batch-size with a default of its own."""
    return click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=default,
        show_default=True,
        help="Images computed at once.",
    )


def splitting_options(function: Function) -> Function:
    """Add the options for splitting a data set, which are settings of `rtl finetune` too."""
    for field in reversed(fields_of(SPLITTING)):
        decorate = click.option(
            f"--{field.name.replace('_', '-')}",
            type=click.IntRange(min=0) if isinstance(field.default, int) else str,
            default=field.default,
            show_default=True,
            help=describe(field),
        )
        function = decorate(function)
    return function


def splitting_words(splitting: Splitting) -> list[object]:
    """Return the words of a command line that ask for a splitting; none for the usual one."""
    values = zip(SPLITTING, (splitting.ratio, splitting.seed, splitting.group_column), strict=True)
    usual = FinetuneSettings()
    asked = [(name, value) for name, value in values if value != getattr(usual, name)]
    return [word for name, value in asked for word in (f"--{name.replace('_', '-')}", value)]


def settings_options(function: Function) -> Function:
    """Add an option for each field of FinetuneSettings but `data`, which is the argument.

    An option that is not given is None, so that the value of a TOML file is kept.
    """
    names = tuple(name for group in grouped_settings().values() for name in group)
    for field in reversed(fields_of(names)):
        if field.name == "data":
            continue
        declared = get_args(field.type)[0]
        kind: Any = declared
        if get_origin(declared) is Literal:
            kind = Choice(get_args(declared))
        flag = f"--{field.name.replace('_', '-')}"
        if declared is bool:
            flag += f"/--no-{flag[2:]}"
        default = ("on" if field.default else "off") if declared is bool else field.default
        shown = "" if default == "" else f"  [default: {default}]"
        text = f"{describe(field)}{shown}"
        function = _settings_option(field.name, flag, kind, text)(function)
    return function


def _settings_option(name: str, flag: str, kind: Any, text: str) -> Callable[[Function], Function]:
    """Return the option of a setting; those that name the source model also take several."""
    if name == "weights":
        return click.option(
            flag, name, type=kind, multiple=True, callback=_one_or_several, help=text
        )
    if name == "arch":
        kind = Choice((*kind.choices, "auto"))
    return click.option(flag, name, type=kind, default=None, help=text)


def _one_or_several(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> str | tuple[str, ...] | None:
    return given if len(given) > 1 else next(iter(given), None)
