"""Measure rtl beside other tools: makes the tables about peers in docs/benchmarks.md.

    python -m benchmarks.peers environments              make the environment (7 GB, from PyPI)
    python -m benchmarks.peers train --seeds 0 1 2       every trainer, each beside rtl's head
    python -m benchmarks.peers train --only "fastai head" --epochs 1 5 20
    python -m benchmarks.peers predict --rounds 5        a folder of 200 photographs
    python -m benchmarks.peers start --rounds 7          a new process to its first label
    python -m benchmarks.peers inference                 benchmark_app beside rtl bench
    python -m benchmarks.peers table                     from results.jsonl to docs/benchmarks.md

Each measurement is appended to results.jsonl as it ends. RTL_SHARED is the folder with photographs
and weights. What can't be had or fails is a row with the reason.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers import environment
from benchmarks.peers.rows import STORE, read_rows
from benchmarks.peers.table import PAGE, written


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the step that the command line names."""
    options = _options(arguments)
    if options.step == "environments":
        environment.make(options.environments)
    elif options.step == "table":
        page = written(read_rows(options.store), options.page.read_text(encoding="utf-8"))
        options.page.write_text(page, encoding="utf-8")
    else:
        _measure(options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    home = Path(tempfile.gettempdir(), "rtl-peers")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--environments", type=Path, default=home / "environment")
    shared.add_argument("--scratch", type=Path, default=home / "scratch")
    shared.add_argument("--store", type=Path, default=STORE)
    shared.add_argument("--page", type=Path, default=PAGE)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    steps = parser.add_subparsers(dest="step", required=True)
    parsers = {
        name: steps.add_parser(name, parents=[shared])
        for name in ("environments", "train", "predict", "start", "inference", "table")
    }
    for name in ("train", "predict", "start"):
        parsers[name].add_argument("--only", nargs="*", default=[], metavar="WHO")
    parsers["train"].add_argument("--seeds", nargs="+", type=int, default=[0])
    parsers["train"].add_argument("--epochs", nargs="*", type=int, default=[])
    parsers["train"].add_argument(
        "--alone", action="store_true", help="without rtl's head beside each"
    )
    for name, rounds in (("predict", 5), ("start", 7), ("inference", 3)):
        parsers[name].add_argument("--rounds", type=int, default=rounds)
    for name in ("predict", "start"):
        parsers[name].add_argument(
            "--warm", action="store_true", help="without the round that is not counted"
        )
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace) -> None:
    """Lay out the material and measure the subject."""
    from benchmarks.peers import inference, label, train
    from benchmarks.peers.material import Material, lay_out
    from benchmarks.peers.session import Session

    scratch = options.scratch.absolute()
    scratch.mkdir(parents=True, exist_ok=True)
    folder = options.environments.absolute()
    versions = environment.installed(folder)
    material = lay_out(scratch, folder) if versions else Material(scratch)
    session = Session(material, folder, options.store.absolute(), versions)
    if options.step == "train":
        train.run(session, options.only, options.seeds, options.epochs, alone=options.alone)
    elif options.step == "inference":
        inference.run(session, options.rounds)
    else:
        label.run(session, options.step, options.only, options.rounds, warm=options.warm)


if __name__ == "__main__":
    main()
