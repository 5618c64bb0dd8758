"""The wait policy of torch's OpenMP threads, which has to be set before torch is imported.

By default OpenMP's threads spin while they wait. When another process uses one of two cores, the
spinning threads take what is left: a training epoch of 8 s took up to 60 s on a busy machine, and
9 s with the policy `passive`, with which waiting threads sleep. On an idle machine the two differ
little.
"""

from __future__ import annotations

import os

WAIT_POLICY = "OMP_WAIT_POLICY"
SET_BY_RTL = "RTL_SET_WAIT_POLICY"
"""Marks, for child processes, that the policy was not set by the user."""


def set_passive_wait() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user has set a policy."""
    if WAIT_POLICY not in os.environ:
        os.environ[WAIT_POLICY] = "passive"
        os.environ[SET_BY_RTL] = "1"


def user_environment() -> dict[str, str]:
    """Return the environment without the policy set by rtl, to measure torch as users run it."""
    environment = dict(os.environ)
    if environment.pop(SET_BY_RTL, None):
        del environment[WAIT_POLICY]
    return environment
