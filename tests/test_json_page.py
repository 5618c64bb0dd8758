"""docs/json.md names every field of what the commands print as JSON."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import ROOT
from toolchain.adaptation.result import Adapted
from toolchain.benchmarking.result import Benchmark
from toolchain.cache import Caches
from toolchain.data.audit_result import Audit
from toolchain.doctor import DoctorReport
from toolchain.evaluation.evaluate import Evaluation
from toolchain.exporters.report import ExportReport
from toolchain.reporting.result import ReportFile
from toolchain.runs.selection import Selection
from toolchain.select.cross_validate import CrossValidation
from toolchain.training.finetune_result import FinetuneReport
from toolchain.training.lr_find import LrFindResult
from toolchain.verification.inspection_result import Inspection
from toolchain.verification.result import Verification

DOCS = ROOT / "docs"
PRINTED: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "rtl finetune": (FinetuneReport, Selection, CrossValidation, LrFindResult),
    "rtl cache": (Caches,),
    "rtl evaluate": (Evaluation,),
    "rtl export": (ExportReport,),
    "rtl adapt": (Adapted,),
    "rtl verify": (Verification,),
    "rtl bench": (Benchmark,),
    "rtl report": (ReportFile,),
    "rtl inspect": (Inspection,),
    "rtl data check": (Audit,),
    "rtl doctor": (DoctorReport,),
}
"""Heading → what its command prints."""
ELSEWHERE = ("rtl verify", "rtl data check")
"""Whose parts are parts of what other commands print too."""


def add_structs(kind: Any, found: set[type[msgspec.Struct]]) -> None:
    """Add a struct and those that its fields hold, or those in a type's arguments."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        inside = typing.get_args(kind)
    elif kind in found:
        return
    else:
        found.add(kind)
        inside = tuple(typing.get_type_hints(kind).values())
    for part in inside:
        add_structs(part, found)


def parts_of(page: Path) -> dict[str, str]:
    """Return heading → text of the parts of a page."""
    parts = re.split(r"^## (.+)\n", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("heading", PRINTED)
def test_every_field_is_named(heading: str) -> None:
    parts = parts_of(DOCS / "json.md")
    card = (DOCS / "card.md").read_text(encoding="utf-8")
    text = "".join([parts[heading], *(parts[other] for other in ELSEWHERE), card])
    structs: set[type[msgspec.Struct]] = set()
    for printed in PRINTED[heading]:
        add_structs(printed, structs)
    names = {field.encode_name for kind in structs for field in msgspec.structs.fields(kind)}
    assert names
    assert [name for name in sorted(names) if not re.search(rf'[`."]{name}[`."\[]', text)] == []
