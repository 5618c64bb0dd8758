"""`python -m toolchain` is `rtl`; torchrun needs this way in."""

from toolchain.cli.main import run

run()
