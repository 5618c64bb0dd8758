"""Which case a figure is of: a target on a provider, with threads, at a batch size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple, Protocol

import msgspec

from toolchain.display import counted


class CaseKey(NamedTuple):
    """What tells the cases of a benchmark apart."""

    target: str
    provider: str
    threads: int
    spin: bool
    batch_size: int

    @property
    def described(self) -> str:
        """The case in words; the provider and spinning threads where they are not the usual."""
        provider = "" if self.provider == "cpu" else f" on {self.provider}"
        spin = ", spin" if self.spin else ""
        threads = counted(self.threads, "thread")
        return f"{self.target}{provider}, batch {self.batch_size}, {threads}{spin}"


class CaseAfterPauseKey(NamedTuple):
    """What tells the cases of a benchmark apart that are called after pauses."""

    case: CaseKey
    pause_s: float
    keep_warm: bool

    @property
    def described(self) -> str:
        """The case in words, with its pause."""
        return f"{self.case.described}, {pause_words(self.pause_s, self.keep_warm)}"


def pause_words(pause_s: float, keep_warm: bool) -> str:
    """Return a pause in words.

    >>> pause_words(1.0, False), pause_words(0.2, True)
    ('after 1 s', 'after 0.2 s kept warm')
    """
    return f"after {pause_s:g} s{' kept warm' if keep_warm else ''}"


def shown_threads(threads: int, spin: bool) -> str:
    """Return a number of threads, as tables show it."""
    return f"{threads} spin" if spin else str(threads)


class OfTarget(Protocol):
    """A row about a target on a provider."""

    @property
    def target(self) -> str:
        """What was measured."""

    @property
    def provider(self) -> str:
        """Where it was measured."""


def shown_target(row: OfTarget, rows: Sequence[OfTarget]) -> str:
    """Return the target of one of some rows, with its provider where they are of several."""
    several = len({other.provider for other in rows}) > 1
    return f"{row.target} {row.provider}" if several else row.target


class CaseName(msgspec.Struct, frozen=True, kw_only=True):
    """Base of rows about one case; the fields are described in docs/json.md."""

    target: str
    provider: str
    threads: int
    spin: bool = False
    batch_size: Annotated[int, msgspec.Meta(ge=1)]

    @property
    def case(self) -> CaseKey:
        """What tells this case apart from others."""
        return CaseKey(self.target, self.provider, self.threads, self.spin, self.batch_size)

    @property
    def threads_shown(self) -> str:
        """The number of threads, as tables show it."""
        return shown_threads(self.threads, self.spin)

    @property
    def described(self) -> str:
        """The case in words."""
        return self.case.described
