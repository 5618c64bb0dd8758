"""`rtl verify`: compare a model file with the model it was made from."""

from __future__ import annotations

import click

from toolchain.cli import tables, terminal
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import (
    FiniteRange,
    data_option,
    explain_option,
    images_option,
    json_option,
    provider_option,
    quiet_option,
    threads_option,
    traceback_option,
)


@click.command(cls=GroupedCommand)
@click.argument("model")
@click.option("--run", help="Run folder the file came from, where it was moved elsewhere.")
@data_option
@images_option
@click.option("--sha256", metavar="HEX", help="The digest that MODEL must have.")
@click.option(
    "--max-flips",
    type=FiniteRange(0, 100),
    default=2.0,
    show_default=True,
    help="fp16, int8: per cent of the labels that may differ.",
)
@provider_option
@threads_option
@explain_option
@json_option
@quiet_option
@traceback_option
def command(
    model: str,
    run: str | None,
    data: str | None,
    images: int,
    sha256: str | None,
    max_flips: float,
    provider: str,
    threads: int | None,
    explain: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Verify MODEL against every reference at hand; exit status 6 when a level fails.

    The card inside the file is always one, reference outputs beside the file are another. Where
    the run folder and torch are at hand, the trained model itself is the third. For a run folder
    in the place of MODEL the file exported from it is verified. None of the references is a
    signature: --sha256 compares the file with a digest that came another way.

    \b
    rtl verify runs/photos/export/model.onnx
    """
    from toolchain.verification.result import require_parity
    from toolchain.verification.verify import verify

    result = verify(
        model,
        run=run,
        data=data,
        provider=provider,
        threads=threads,
        images=images,
        sha256=sha256,
        max_flips=max_flips / 100,
        progress=terminal.progress_reporter(quiet),
    )
    if as_json:
        terminal.print_json(result)
    else:
        tables.show_result(result)
    tables.explain(result, "verify", wanted=explain, quiet=quiet or as_json)
    require_parity(result)
    terminal.print_next("rtl", "bench", model, quiet=quiet)
