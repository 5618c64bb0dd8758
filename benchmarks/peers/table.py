"""The part of docs/benchmarks.md about peers, made from the rows."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.material import with_made_part
from benchmarks.peers.bars import Bar, all_bars, ratios, training_cases
from benchmarks.peers.rows import Row, measured, skipped

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BEGIN = "<!-- Made by `python -m benchmarks.peers table` from benchmarks/peers/results.jsonl. -->\n"
END = "<!-- End of what it makes. -->\n"
FIRST = {"predict": "rtl predict", "start": "rtl Predictor", "inference": "rtl bench"}
"""Whom the others are compared with."""
WHAT = {
    "train": "Training",
    "predict": "A folder of 200 photographs",
    "start": "From nothing to the first label",
    "inference": "The network alone",
}


def written(rows: list[Row], page: str) -> str:
    """Return the page with its part about peers made anew."""
    return with_made_part(page, BEGIN, END, text_of(rows))


def text_of(rows: list[Row]) -> str:
    """Return the tables as Markdown."""
    parts = [_measured_on(rows)]
    for subject, title in WHAT.items():
        lines = training_table(rows) if subject == "train" else turns_table(rows, subject)
        lines += [f"| {who} | not measured: {why} |" for who, why in skipped(rows, subject).items()]
        parts.append(f"### {title}\n\n" + "\n".join(lines))
    parts.append("### The bars\n\n" + "\n".join(bars_table(all_bars(rows, FIRST))))
    return "\n\n".join(parts).replace("%", " %") + "\n"


def _measured_on(rows: Iterable[Row]) -> str:
    """Return the machines and versions of the rows, and how busy the machine was."""
    rows = list(rows)
    if not rows:
        return "Nothing is measured yet."
    machines = Counter(row["machine"] for row in rows)
    versions: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name, version in row["versions"].items():
            versions[name].add(version)
    named = ", ".join(f"{name} {' and '.join(sorted(found))}" for name, found in versions.items())
    days = sorted({row["date"][:10] for row in rows})
    loads = sorted(row["load"] for row in rows)
    return (
        f"{' and '.join(machines)}; {named}; {' to '.join(dict.fromkeys((days[0], days[-1])))}. "
        f"Load average before a measurement: {loads[0]:g} to {loads[-1]:g}, "
        f"median {statistics.median(loads):g}."
    )


def training_table(rows: list[Row]) -> list[str]:
    """Return a line for each trainer and number of epochs, the quickest first."""
    lines = [
        "| trainer | epochs | accuracy | seeds | seconds | of processors | beside rtl head |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in sorted(training_cases(rows), key=lambda case: case.seconds):
        beside = "–" if case.beside is None else f"{case.beside:.1f} ×"
        cells = [case.who, str(case.epochs), f"{case.accuracy:.1%}", str(case.seeds)]
        cells += [f"{case.seconds:.1f}", f"{case.processor_seconds:.1f}", beside]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def turns_table(rows: list[Row], subject: str) -> list[str]:
    """Return a line for each of those that were measured in rounds, the quickest first."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in measured(rows, subject):
        groups[row["who"]].append(row)
    figure = "median_ms" if subject == "inference" else "seconds"
    beside = ratios(rows, subject, FIRST[subject], figure)
    heads = {
        "predict": ["who", "seconds", "of processors", "images/s", "labels as rtl's"],
        "start": ["who", "seconds", "of processors"],
        "inference": ["who", "median latency"],
    }[subject]
    heads += [f"beside {FIRST[subject]}", "rounds"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for who, found in sorted(groups.items(), key=lambda item: beside.get(item[0], 0.0)):
        ratio = f"{beside[who]:.2f} ×" if who in beside else "–"
        cells = [who, *_figures(found, subject), ratio, str(len(found))]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _figures(rows: list[Row], subject: str) -> list[str]:
    """Return the cells with what was measured."""
    if subject == "inference":
        return [f"{statistics.median(row['median_ms'] for row in rows):.1f} ms"]
    seconds = statistics.median(row["seconds"] for row in rows)
    used = statistics.median(row["processor_seconds"] for row in rows)
    if subject == "start":
        return [f"{seconds:.2f}", f"{used:.2f}"]
    images, same = rows[0]["images"], rows[0]["same_labels"]
    labels = "another model" if same is None else f"{same} of {images}"
    return [f"{seconds:.2f}", f"{used:.2f}", f"{images / seconds:.0f}", labels]


def bars_table(bars: Sequence[Bar]) -> list[str]:
    """Return a line for each bar."""
    lines = [
        "| what | bar | reached | | of processor time | between |",
        "|---|---|---|---|---|---|",
    ]
    for bar in bars:
        reached = f"{bar.reached:.1f} ×" if bar.reached else "–"
        used = f"{bar.used:.1f} ×" if bar.used else "–"
        cells = [bar.text, f"{bar.least:g} ×", reached, bar.verdict, used, bar.between]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
