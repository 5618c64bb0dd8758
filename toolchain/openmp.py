"""How torch's threads wait for each other, decided before torch is loaded.

OpenMP's threads spin while they wait. When another process takes one of two cores, the waiting
threads burn what is left: a training epoch that takes 8 s took up to 60 s on a busy machine, and
9 s with threads that sleep while they wait. On an idle machine there is little between the two.
"""

from __future__ import annotations

import os

POLICY = "OMP_WAIT_POLICY"
MARK = "RTL_SET_WAIT_POLICY"


def set_passive_wait() -> None:
    """Let threads sleep while they wait, unless the user has decided otherwise."""
    if POLICY not in os.environ:
        os.environ[POLICY] = "passive"
        os.environ[MARK] = "1"


def user_environment() -> dict[str, str]:
    """Return the environment as the user set it, for measuring torch as users run it."""
    environment = dict(os.environ)
    if environment.pop(MARK, None):
        del environment[POLICY]
    return environment
