"""Stub, being replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from toolchain.training.settings import FinetuneSettings


class Finding(msgspec.Struct, frozen=True):
    name: str
    evidence: str
    remedy: str


def diagnose(history: Sequence[dict[str, Any]], settings: FinetuneSettings) -> list[Finding]:
    return []
