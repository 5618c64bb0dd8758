"""Which case a figure is of: a target on a provider, with threads, at a batch size."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec


class CaseKey(NamedTuple):
    """What tells the cases of a benchmark apart."""

    target: str
    provider: str
    threads: int
    spin: bool
    batch_size: int


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
        return f"{self.threads} spin" if self.spin else str(self.threads)

    @property
    def described(self) -> str:
        """The case in words."""
        return f"{self.target}, batch {self.batch_size}, {self.threads} threads"
