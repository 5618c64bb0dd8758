"""`rtl demo`: every step once, from drawn images to a label, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolchain.cli import tables, terminal
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import quiet_option, traceback_option

if TYPE_CHECKING:
    from toolchain.demo.demo import Demo, DemoStep


@click.command(cls=GroupedCommand)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("rtl-demo"),
    show_default=True,
    help="Folder for the images and the runs.",
)
@click.option("--weights", help="Weights to start from, instead of torchvision's ImageNet weights.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed.")
@quiet_option
@traceback_option
def command(output: Path, weights: str | None, seed: int, quiet: bool) -> None:
    """Draw a data set, fine-tune, evaluate, export, verify, bench, predict and report, in minutes.

    The images show machined metal parts in six classes; two files are broken on purpose. Everything
    is made under --output; a second run draws nothing again and makes another run folder.

    \b
    rtl demo
    rtl demo --weights resnet18.safetensors
    """
    from toolchain.demo.demo import Demo

    demo, steps = Demo(output, progress=terminal.progress_reporter(quiet)), []
    for step in demo.steps(weights=weights, seed=seed):
        if step.benchmark is not None:
            tables.show_result(step.benchmark)
        steps.append(step)
    _show(demo, steps)
    run = demo.run.path
    terminal.print_next("rtl", "predict", demo.model, demo.data / "crack", quiet=quiet)
    terminal.print_next("rtl", "inspect", demo.model, quiet=quiet)
    terminal.print_next("rtl", "finetune", "YOUR_IMAGES", "-o", run.parent / "mine", quiet=quiet)


def _show(demo: Demo, steps: list[DemoStep]) -> None:
    """Print the steps as one table, and where everything is."""
    table = tables.new_table("step", "result", "s", numbers=("s",))
    for step in steps:
        table.add_row(step.name, step.result, f"{step.seconds:.0f}")
    total = sum(step.seconds for step in steps)
    made = [
        ("images", f"{demo.data}/"),
        ("run", f"{demo.run.path}/  (settings, metrics, curves.png, confusion.png)"),
        ("model", str(demo.model)),
        ("", str(demo.run.model_file("torchscript"))),
        ("benchmark", str(demo.run.bench_result("cpu"))),
        ("report", f"{demo.run.report}  (open it in a browser)"),
        ("time", f"{total:.0f} s"),
    ]
    tables.show(table, tables.facts(made))
