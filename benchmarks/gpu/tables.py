"""The outcome of all parts as text of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.gpu.job import Row
from benchmarks.gpu.processes import Outcome

WIDTH = 80
Column = tuple[str, int, Callable[[Row], str]]
"""Heading, width and what a row shows."""


def part_line(outcome: Outcome) -> str:
    """Return a part's status and time; why, where it was not done."""
    head = f"{outcome.part.name:34s} {outcome.status:8s} {outcome.seconds:6.1f} s"
    if not outcome.reason:
        return head
    return head + "\n" + wrapped(outcome.reason, indent="    ")


def tables(outcomes: Sequence[Outcome]) -> str:
    """Return a table of each kind of rows that there are."""
    rows: dict[str, list[Row]] = {}
    for outcome in outcomes:
        rows.setdefault(outcome.part.table, []).extend(outcome.rows)
    texts = [MAKERS[kind](found) for kind, found in rows.items() if found and kind in MAKERS]
    return "\n\n".join(texts)


def machine_table(rows: Sequence[Row]) -> str:
    """Return processor, GPU, driver and versions, a line each."""
    row = rows[0]
    machine, torch, ort = row["machine"] or {}, row["torch"] or {}, row["onnxruntime"] or {}
    lines = [machine.get("text") or f"{row['platform']}, Python {row['python']}"]
    smi = row["nvidia_smi"] or {}
    lines.append(
        f"GPU: {torch.get('gpu') or smi.get('name') or 'none'}"
        + (f", driver {smi['driver_version']}" if smi else "")
    )
    if torch:
        cuda = f"CUDA {torch['cuda']}, cuDNN {torch['cudnn']}" if torch["cuda"] else "without CUDA"
        lines.append(f"torch {torch['version']}, {cuda}")
    if ort:
        lines.append(f"onnxruntime {ort['version']}: {', '.join(ort['providers'])}")
    return "\n".join(wrapped(line) for line in lines)


def data_table(rows: Sequence[Row]) -> str:
    """Return what was trained on."""
    return wrapped(f"images: {rows[0]['images']}, {rows[0]['data']}")


def training_table(rows: Sequence[Row]) -> str:
    """Return seconds per epoch and accuracy of each training, beside fp32."""
    base = next((row for row in rows if row["case"] == "fp32"), None)

    def speed(row: Row) -> str:
        alike = base is not None and row["strategy"] == base["strategy"]
        return ratio(base["epoch_s"] if base and alike else None, row["epoch_s"])

    columns: tuple[Column, ...] = (
        ("training", 36, training_name),
        ("epoch 1 s", 10, lambda row: f"{row['first_epoch_s']:.2f}"),
        ("later s", 9, lambda row: f"{row['epoch_s']:.3f}"),
        ("×", 7, speed),
        ("accuracy", 10, lambda row: f"{row['val_accuracy']:.1%}"),
        ("GPU MB", 8, lambda row: number(row["peak_gpu_mb"], ".0f")),
    )
    return table(columns, rows)


def training_name(row: Row) -> str:
    """Return the name of a training, with its strategy where that is not `full`."""
    strategy = row["strategy"]
    return str(row["case"]) + ("" if strategy == "full" else f", {strategy}")


def files_table(rows: Sequence[Row]) -> str:
    """Return the exported files, and what fp16 costs."""
    columns: tuple[Column, ...] = (
        ("file", 30, lambda row: row["file"]),
        ("MB", 8, lambda row: number(row["bytes"] and row["bytes"] / 1e6, ".1f")),
        ("labels differ", 15, flips),
        ("× fp32", 9, lambda row: number(row.get("speed_ratio"), ".2f")),
        ("on", 7, lambda row: row.get("speed_provider") or "–"),
    )
    refused = [f"{row['file']}: {row['refused']}" for row in rows if row["refused"]]
    return "\n".join([table(columns, rows), *map(wrapped, refused)])


def flips(row: Row) -> str:
    """Return how many validation images have another label than in fp32."""
    return f"{row['flips']} of {row['images']}" if "flips" in row else "–"


def verification_table(rows: Sequence[Row]) -> str:
    """Return how many levels of each file passed, and what its sessions found."""
    lines = []
    for file in dict.fromkeys(row["file"] for row in rows):
        levels = [row for row in rows if row["file"] == file]
        passed = sum(row["passed"] for row in levels)
        lines.append(f"verification of {file}: {passed} of {len(levels)} levels passed")
        for row in levels:
            if row["level"] == "sessions" or not row["passed"]:
                lines.append(wrapped(level_line(row), indent="    "))
    return "\n".join(lines)


def level_line(row: Row) -> str:
    """Return the figures of one level; of sessions also whether TF32 was allowed."""
    verdict = "passed" if row["passed"] else "FAILED"
    tf32 = f"; use_tf32 {row['use_tf32']}" if "use_tf32" in row else ""
    return f"{row['level']} against the {row['against']}: {verdict}; {row['summary']}{tf32}"


def inference_table(rows: Sequence[Row]) -> str:
    """Return the engines at each batch size, beside torch eager in fp32."""
    texts = []
    for batch in sorted({row["batch"] for row in rows}):
        here = [row for row in rows if row["batch"] == batch]
        base = next((r["call_ms"] for r in here if r["engine"].startswith(BASELINE)), None)
        columns: tuple[Column, ...] = (
            (f"batch {batch}", 38, lambda row: row["engine"]),
            ("call ms", 9, lambda row: f"{row['call_ms']:.2f}"),
            ("GPU ms", 8, lambda row: number(row["device_ms"], ".2f")),
            ("img/s", 8, lambda row: f"{row['images_per_s']:.0f}"),
            ("×", 6, lambda row, base=base: ratio(base, row["call_ms"])),  # type: ignore[misc]
            ("off by", 9, lambda row: f"{row['off_by']:.1g}"),
        )
        texts.append(table(columns, sorted(here, key=lambda row: row["engine"])))
    return "\n\n".join(texts)


BASELINE = "torch eager fp32"
MAKERS: dict[str, Callable[[Sequence[Row]], str]] = {
    "machine": machine_table,
    "data": data_table,
    "training": training_table,
    "files": files_table,
    "verification": verification_table,
    "inference": inference_table,
}
"""A kind of rows → the text that shows them."""


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Return rows under headings: the first column to the left, the others to the right."""
    lines = [[heading for heading, _, _ in columns]]
    lines += [[show(row) for _, _, show in columns] for row in rows]
    return "\n".join(
        "".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, (_, width, _)) in enumerate(zip(line, columns, strict=True))
        ).rstrip()
        for line in lines
    )


def ratio(base: float | None, value: float) -> str:
    """Return how many times as fast as the baseline something is."""
    return f"{base / value:.2f}" if base else "–"


def number(value: Any, form: str) -> str:
    """Return a figure, or a dash where there is none."""
    return "–" if value is None else format(value, form)


def wrapped(text: str, indent: str = "") -> str:
    """Return a text in lines of at most 80 columns."""
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
