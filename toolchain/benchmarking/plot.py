"""A benchmark as a picture: how calls spread, throughput over batch sizes, calls after pauses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from toolchain.benchmarking.figures.samples import decode_samples
from toolchain.benchmarking.result import Benchmark
from toolchain.benchmarking.rows import PauseResult, TargetResult
from toolchain.metrics.figure import drawn_names, save_figure, without_warnings

COLOURS = ("#1f5fa8", "#b7791f", "#2f855a", "#9b2c2c", "#6b46c1", "#0f766e", "#8a8f98")
MOST_DOTS = 500
"""Calls of a case that are drawn, spread over all of them."""
FEW_DOTS = 60
"""So many are drawn darker."""
WIDTH_INCHES = 10.0
ROW_INCHES = 0.34
MOST_LETTERS = 30
SPREAD_OF_DOTS = 0.28
WIDE = 3.0
"""From this ratio of the largest figure to the smallest on, an axis is logarithmic."""

Series = tuple[str, str, int, bool]
"""A target with its provider and threads: what a colour stands for."""


@without_warnings
def draw_benchmark(result: Benchmark, path: Path) -> None:
    """Draw a benchmark into a PNG file: what its tables say, and how the calls spread."""
    # Of one batch size together: what is to be compared lies side by side.
    rows = sorted(result.results, key=lambda row: row.batch_size)
    rows = [row for row in rows if row.samples is not None]
    targets = list(dict.fromkeys(row.target for row in rows))
    names = drawn_names(targets, MOST_LETTERS)
    labels = _labels(rows, dict(zip(targets, names.labels, strict=True)))
    colours = {key: COLOURS[n % len(COLOURS)] for n, key in enumerate(labels)}
    with rc_context({"font.family": names.families}):
        save_figure(_drawn(result, rows, labels, colours), path)


def _drawn(
    result: Benchmark,
    rows: Sequence[TargetResult],
    labels: dict[Series, str],
    colours: dict[Series, str],
) -> Figure:
    pauses = [row for row in result.pauses if not row.keep_warm]
    above = max(2.2, 1.1 + ROW_INCHES * len(rows))
    below = max(2.9, 1.3 + ROW_INCHES * max(len(pauses), len(labels)))
    layout = ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12)
    picture = Figure(figsize=(WIDTH_INCHES, above + below), layout=layout)
    grid = picture.add_gridspec(2, 2 if pauses else 1, height_ratios=(above, below))
    _draw_calls(picture.add_subplot(grid[0, :]), rows, labels, colours)
    one_size = len({row.batch_size for row in rows}) == 1
    draw = _draw_speeds if one_size else _draw_throughput
    draw(picture.add_subplot(grid[1, 0]), rows, labels, colours)
    if pauses:
        _draw_pauses(picture.add_subplot(grid[1, 1]), result, labels, colours)
    picture.suptitle(_title(result), fontsize=9, color="#555555", x=0.01, ha="left")
    return picture


def _series(row: TargetResult | PauseResult) -> Series:
    return row.target, row.provider, row.threads, row.spin


def _labels(rows: Sequence[TargetResult], drawn: dict[str, str]) -> dict[Series, str]:
    """Return what each target is called, with what tells it apart from the others."""
    every = list(dict.fromkeys(map(_series, rows)))
    providers, threads = ({key[n] for key in every} for n in (1, 2))
    return {
        (target, provider, count, spin): ", ".join(
            [
                drawn[target],
                *([provider] if len(providers) > 1 else []),
                *([f"{count} thr"] if len(threads) > 1 else []),
                *(["spin"] if spin else []),
            ]
        )
        for target, provider, count, spin in every
    }


def _draw_calls(
    axes: Axes,
    rows: Sequence[TargetResult],
    labels: dict[Series, str],
    colours: dict[Series, str],
) -> None:
    """Draw a dot for each call and the percentiles, a line of the picture for each case."""
    generator = np.random.default_rng(0)
    for place, row in enumerate(rows):
        assert row.samples is not None
        calls = np.concatenate([np.asarray(part) for part in decode_samples(row.samples)])
        dots = calls[np.linspace(0, len(calls) - 1, min(len(calls), MOST_DOTS)).astype(int)]
        colour = colours[_series(row)]
        height = place + generator.uniform(-SPREAD_OF_DOTS, SPREAD_OF_DOTS, len(dots))
        alpha = 0.25 if len(dots) > FEW_DOTS else 0.5
        axes.scatter(dots, height, s=8, color=colour, alpha=alpha, linewidths=0)
        _mark_percentiles(axes, place, row)
    axes.set_yticks(
        range(len(rows)),
        [
            f"{labels[_series(row)]} · batch {row.batch_size}{' *' if row.reasons else ''}"
            for row in rows
        ],
    )
    axes.set_ylim(len(rows) - 0.5, -0.5)
    _scale(axes, [row.p50_ms for row in rows] + [row.p99_ms for row in rows])
    axes.set_title("ms of each call", loc="left", fontsize=10)
    _light_grid(axes, "x")
    marks = [
        Line2D([], [], color="black", marker=marker, linestyle="", markersize=size, label=name)
        for name, marker, size in (("p50", "|", 11), ("p90", "o", 5), ("p99", "D", 5))
    ]
    hollow = Line2D(
        [], [], color="black", marker="o", linestyle="", markersize=5, markerfacecolor="white"
    )
    hollow.set_label("too few calls for it")
    handles = marks + ([hollow] if any(row.lacking_calls for row in rows) else [])
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        handletextpad=0.2,
    )


def _mark_percentiles(axes: Axes, place: int, row: TargetResult) -> None:
    """Mark p50, p90 and p99 of a case; what has too few calls is hollow."""
    lacking = {text.split()[0] for text in row.lacking_calls}
    axes.plot([row.p50_ms] * 2, [place - 0.36, place + 0.36], color="black", linewidth=1.6)
    for name, value, marker in (("p90", row.p90_ms, "o"), ("p99", row.p99_ms, "D")):
        face = "white" if name in lacking else "black"
        axes.plot([value], [place], marker, color="black", markerfacecolor=face, markersize=5)


def _draw_throughput(
    axes: Axes,
    rows: Sequence[TargetResult],
    labels: dict[Series, str],
    colours: dict[Series, str],
) -> None:
    """Draw images a second over the batch size, with their intervals."""
    for key, label in labels.items():
        own = sorted((r for r in rows if _series(r) == key), key=lambda row: row.batch_size)
        sizes, speeds = [r.batch_size for r in own], [r.images_per_s for r in own]
        bars = np.array([_half_bars(r) for r in own]).T
        axes.errorbar(
            sizes, speeds, yerr=bars, marker="o", ms=4, capsize=3, color=colours[key], label=label
        )
    sizes = sorted({row.batch_size for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, list(map(str, sizes)))
    axes.minorticks_off()
    axes.set_xlim(sizes[0] / 1.35, sizes[-1] * 1.35)
    axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
    axes.set_title("images a second over batch size, 95 % intervals", loc="left", fontsize=10)
    _light_grid(axes, "y")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False, fontsize=8)


def _draw_speeds(
    axes: Axes,
    rows: Sequence[TargetResult],
    labels: dict[Series, str],
    colours: dict[Series, str],
) -> None:
    """Draw images a second as bars, where only one batch size was measured."""
    for place, row in enumerate(rows):
        bars = np.array([_half_bars(row)]).T
        axes.barh(
            place, row.images_per_s, 0.55, xerr=bars, capsize=3, color=colours[_series(row)],
            alpha=0.75,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [labels[_series(row)] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    size = rows[0].batch_size
    axes.set_title(f"images a second at batch size {size}, 95 % intervals", loc="left", fontsize=10)
    _light_grid(axes, "x")


def _half_bars(row: TargetResult) -> tuple[float, float]:
    low, high = row.images_per_s_interval
    down = 0.0 if low is None else row.images_per_s - low
    up = 0.0 if high is None else high - row.images_per_s
    return down, min(up, row.images_per_s)  # of wide intervals only so much, or they fill the axis


def _draw_pauses(
    axes: Axes, result: Benchmark, labels: dict[Series, str], colours: dict[Series, str]
) -> None:
    """Draw calls that follow each other, after a pause, and kept warm, a line for each pause."""
    steady_ms = {row.case: row.p50_ms for row in result.results}
    kept_warm = {(row.case, row.pause_s): row.p50_ms for row in result.pauses if row.keep_warm}
    rows = [row for row in result.pauses if not row.keep_warm]
    for place, row in enumerate(rows):
        colour, steady = colours[_series(row)], steady_ms[row.case]
        axes.plot([steady, row.p50_ms], [place] * 2, color=colour, linewidth=2, alpha=0.5)
        axes.plot([steady], [place], "|", color=colour, markersize=13, markeredgewidth=2)
        axes.plot([row.p50_ms], [place], "o", color=colour, markersize=7)
        warm = kept_warm.get((row.case, row.pause_s))
        if warm is not None:
            axes.plot([warm], [place], "o", color=colour, markerfacecolor="white", markersize=7)
        axes.annotate(
            f"× {row.ratio_to_back_to_back:.2f}",
            (row.p50_ms, place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(
        range(len(rows)), [f"{labels.get(_series(r), r.target)} · {r.pause_s:g} s" for r in rows]
    )
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.16)
    axes.set_title("ms of a call after a pause (p50)", loc="left", fontsize=10)
    _light_grid(axes, "x")
    marks = [
        Line2D([], [], color="black", marker="|", ms=11, linestyle="", label="back to back"),
        Line2D([], [], color="black", marker="o", ms=6, linestyle="", label="after the pause"),
        Line2D(
            [], [], color="black", marker="o", ms=6, markerfacecolor="white", linestyle="",
            label="kept warm in it",
        ),
    ]  # fmt: skip
    axes.legend(
        handles=marks,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.1),
        ncols=3,
        frameon=False,
        fontsize=8,
        handletextpad=0.2,
    )


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """Make an axis logarithmic where its figures lie far apart, with plain numbers on it."""
    if max(values) < WIDE * min(values):
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
        if max(values) < 1000 * min(values)
        else NullFormatter()
    )


def _light_grid(axes: Axes, axis: Literal["x", "y"]) -> None:
    axes.grid(axis=axis, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8, which="both")


def _title(result: Benchmark) -> str:
    versions = result.machine.versions
    engine = f"onnxruntime {versions['onnxruntime']}" if "onnxruntime" in versions else ""
    invalid = next((row for row in result.results if row.reasons), None)
    reason = invalid.reasons[0] if invalid else None
    verdict = "VALID" if reason is None else f"INVALID (*): {reason.kind}, {reason.detail}"
    return f"{', '.join(filter(None, [str(result.machine), engine]))}\n{verdict}"
