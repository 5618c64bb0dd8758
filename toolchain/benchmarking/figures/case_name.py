"""Which case a figure is of: a target on a provider, with threads, at a batch size."""

from __future__ import annotations

from typing import Annotated, NamedTuple

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
        return self.case.described
