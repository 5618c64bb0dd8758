"""`rtl`: the group of commands, each imported when it is called; errors become exit codes."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TypeGuard

import click

from toolchain.cli.help import MOST_COLUMNS
from toolchain.cli.signals import stop_on_signals
from toolchain.cli.started import note_process_start
from toolchain.cli.streams import guard_streams, write_line
from toolchain.errors import (
    Interrupted,
    StopSignal,
    ToolchainError,
    shortened,
    stop_reason,
)
from toolchain.extras import missing_extra
from toolchain.files import NO_ROOM
from toolchain.openmp import set_passive_wait
from toolchain.printable import printable
from toolchain.progress import is_rank_zero
from toolchain.runs.settings_names import nearest_names
from toolchain.runtime.onnxruntime_import import disable_telemetry
from toolchain.version import __version__

# Name → its line in `rtl --help`. Each command lives in the module of its name; importing them all
# would take `rtl --help` longer than everything else it does.
COMMANDS = {
    "demo": "Walk through everything once, on a data set that is drawn on the spot.",
    "data": "Look at a data set before training: unreadable files, duplicates, leaks.",
    "finetune": "Fine-tune a ResNet on a folder of images.",
    "evaluate": "Measure how good a trained run is, with confidence intervals.",
    "export": "Turn a run into model files, each verified before it exists.",
    "adapt": "Fit a model file to the photographs of another camera; needs no torch.",
    "verify": "Prove that a model file still answers like the model it was made from.",
    "bench": "Measure latency, throughput and memory of model files side by side.",
    "report": "Write all that is known of a run, or of several, into one HTML file.",
    "predict": "Label images with a model file; needs no torch.",
    "inspect": "Describe a model file: classes, input, preprocessing, metrics.",
    "cache": "Show or remove what training and predictors keep on the disk.",
    "doctor": "Check this installation: versions, providers, known problems.",
}

OTHER_NAMES = {
    "finetune": ("train", "fit", "fine_tune", "tune", "resume"),
    "data check": ("check", "audit", "dataset"),
    "evaluate": ("test", "validate", "val", "score"),
    "export": ("convert", "quantize", "quantise"),
    "predict": ("infer", "inference", "classify", "label", "run", "serve"),
    "inspect": ("info", "show", "describe", "summary"),
    "verify": ("compare", "parity"),
    "bench": ("speed", "profile", "perf"),
    "report": ("html", "dashboard", "summarise", "summarize"),
}
"""The names of commands, each with what other tools call it."""


class LazyGroup(click.Group):
    """A group that lists its commands and their one-line helps without importing them."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of the commands in the order that a user needs them."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import a command and return it; None where there is none of that name."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"toolchain.cli.{name}").command
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that was asked for; a UsageError names the nearest one."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = nearest_names(args[0], [*COMMANDS, *OTHER_NAMES], OTHER_NAMES)
            meant = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command '{args[0]}'; {meant}", context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their one-line helps."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": MOST_COLUMNS},
    epilog="Start with `rtl demo`; or with your own images: `rtl data check DATA`, then "
    "`rtl finetune DATA`, `rtl export RUN` and `rtl predict MODEL IMAGE`.",
)
@click.version_option(__version__, prog_name="rtl")
def rtl() -> None:
    """From a folder of labelled images to a model file that answers the same on the device."""


def run() -> None:
    """Run the command line and exit with its status."""
    note_process_start()
    set_passive_wait()
    disable_telemetry()
    # What Pillow warns of in images is reported by rtl, as far as it matters. These filters are set
    # here, and not where images are read, because they hold for the whole process.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # Without this the interpreter looks at its end for garbage in all of torch, for a second. It is
    # registered first, so that it is called last, when everything else has ended.
    atexit.register(gc.freeze)
    streams = guard_streams()
    stop_on_signals()
    status = run_command(sys.argv[1:])
    lost = streams.lost_output()
    if lost is not None and status == 0:
        status = _report(str(lost), None, lost.exit_code)
    sys.exit(status)


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit status; an error becomes one line on standard error."""
    if "--traceback" in arguments:
        # Before parsing, so that an error of parsing shows its traceback too.
        with _logged_tracebacks():
            return _main([word for word in arguments if word != "--traceback"])
    try:
        return _main(arguments)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.NoSuchOption as error:
        # Imported here, because it loads the settings, which `rtl --help` has no use for.
        from toolchain.cli.option_names import unknown_option

        message, hint = unknown_option(error), _usage_hint(error)
        return _report(message, hint, error.exit_code, show=is_rank_zero())
    except click.ClickException as error:
        message, hint = error.format_message(), _usage_hint(error)
        return _report(message, hint, error.exit_code, show=is_rank_zero())
    except (KeyboardInterrupt, click.Abort) as stop:
        wish = stop.__cause__ if isinstance(stop, click.Abort) else stop
        return _report(stop_reason(wish), None, _stop_status(wish), show=is_rank_zero())
    except ToolchainError as error:
        return _report_error(error)
    except Exception as error:
        return _report_unexpected(error)


def _main(arguments: list[str]) -> int:
    """Run one command, which finds its words in the context's `obj`, and return its status."""
    status = rtl.main(arguments, "rtl", standalone_mode=False, obj=tuple(arguments))
    return status if isinstance(status, int) else 0


@contextlib.contextmanager
def _logged_tracebacks() -> Iterator[None]:
    """Write to standard error what the package logs: the tracebacks of errors that it handled."""
    import logging

    logger, handler = logging.getLogger("toolchain"), logging.StreamHandler(sys.stderr)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def _stop_status(stop: BaseException | None) -> int:
    return stop.exit_code if isinstance(stop, StopSignal) else Interrupted.exit_code


def _report_error(error: ToolchainError) -> int:
    """Print an error in one of the processes that have it, and return its exit status.

    Where it is another process's, rank zero still says how the run goes on.
    """
    show = is_rank_zero() or error.reporter == "this process"
    message = None if error.reporter == "another process" else str(error)
    stopped = isinstance(error, Interrupted)
    status = _stop_status(error.__cause__) if stopped else error.exit_code
    return _report(message, error.hint, status, show=show)


def _report(message: str | None, hint: str | None, status: int, *, show: bool = True) -> int:
    """Print an error and its hint to standard error and return the exit status."""
    if show and message is not None:
        write_line(f"error: {printable(message)}", sys.stderr)
    if show and hint:
        write_line(f"hint: {printable(hint)}", sys.stderr)
    return status


def _report_unexpected(error: Exception) -> int:
    """Report an optional package that can't be imported, a failure of the system, or a bug."""
    missing = missing_extra(error)
    if missing is not None:
        return _report(str(missing), missing.hint, missing.exit_code, show=is_rank_zero())
    if isinstance(error, OSError):
        where = f"{shortened(os.fsdecode(error.filename))}: " if _is_path(error.filename) else ""
        hint = "make room there, or choose another place" if error.errno in NO_ROOM else None
        return _report(f"{where}{(error.strerror or str(error)).lower()}", hint, 1)
    hint = "this is a bug in rtl; run again with --traceback and report it"
    message = f"unexpected {type(error).__name__}: {error}"
    return _report(message, hint, 1)


def _is_path(name: object) -> TypeGuard[str | bytes]:
    return isinstance(name, str | bytes) and bool(name)


def _usage_hint(error: click.ClickException) -> str | None:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context else None
