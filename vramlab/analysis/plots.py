"""Plots of results: policies, capacities, settings, latencies. Timelines of one run stand in `timelines`.

Each function takes a results frame (rows as of ``vramlab compare`` or a sweep: one row per run, one column
per setting and figure, seconds and bytes) and optional Axes, and returns the Axes. Columns ``NAME_low`` and
``NAME_high`` beside a figure NAME are drawn as its interval, and the legend says of what. Where all rows are
of one memory, the title says it. Maps, curves and fronts over settings are in `setting_plots`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from vramlab.analysis import columns, style
from vramlab.analysis.setting_plots import band, on_front, pareto_front, threshold_curves, zone_heat_map
from vramlab.analysis.timelines import memory_map, residency_timeline, vram_use
from vramlab.config.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "capacity_plot", "latency_distribution", "memory_map", "on_front", "pareto_front", "policy_bars",
    "residency_timeline", "threshold_curves", "vram_use", "zone_heat_map",
]  # fmt: skip

_NEXT_TO_NOTHING_S = 50e-6


# it has as many choices as a figure has, each with a default
def policy_bars(
    frame: pd.DataFrame,
    value: str = "load_cost_s",
    ax: Axes | None = None,
    optimum: float | None = None,
    optimum_label: str = "offline optimum",
    title: str = "",
    interval: str = "",
) -> Axes:
    """Draw a figure by policy, the best on top, with intervals where there are any.

    A bar whose run refused or failed requests is hatched and says how many: they cost it nothing here.

    Parameters
    ----------
    frame : DataFrame
        Columns ``policy`` and `value`; where rows differ in ``order`` too, that is named beside it.
    optimum : float, optional
        Drawn as a line, in the unit of the column.
    interval : str
        What the error bars are of; by default what the frame says of itself (``attrs["interval"]``).
    """
    columns.need(frame, "policy", value)
    low_is_better = not columns.higher(value)
    rows = frame.dropna(subset=[value]).sort_values(value, ascending=not low_is_better, kind="stable")
    label, factor = columns.label(value, rows[value])
    ax = style.axes(ax, height=1.4 + 0.38 * len(rows))
    numbers = rows[value].to_numpy(dtype=float) * factor
    spread = columns.spread(rows, value, factor)
    best = len(rows) - 1
    colours = [style.PALETTE[0] if index == best else style.PALETTE[4] for index in range(len(rows))]
    bars = ax.barh(
        np.arange(len(rows)), numbers, color=colours, height=0.66, xerr=spread,
        error_kw={"ecolor": style.INK, "elinewidth": 1.2, "capsize": 3},
    )  # fmt: skip
    reach = numbers if spread is None else numbers + spread[1]
    longest = max(reach.max(), (optimum or 0.0) * factor) or 1.0
    unserved = _unserved(rows)
    for place, (bar, number, end) in enumerate(zip(bars, numbers, reach, strict=True)):
        text = columns.short(number)
        if unserved[place]:
            bar.set(hatch="////", edgecolor="white")
            text += f"  ({unserved[place]:,} not served)"
        ax.text(end + 0.012 * longest, place, text, va="center", fontsize=9, color=style.INK)
    ax.set_yticks(np.arange(len(rows)), _row_names(rows))
    ax.set_xlim(0, longest * (1.4 if any(unserved) else 1.12))
    ax.set_xlabel(label)
    style.grid(ax, "x")
    marks = {}
    if optimum is not None:
        line = ax.axvline(optimum * factor, color=style.OPTIMUM, linestyle="--", linewidth=1.8)
        marks[f"{optimum_label} {columns.short(optimum * factor)}"] = line
    if spread is not None:
        from matplotlib.lines import Line2D

        text = f"bars: {columns.interval_text(frame, value, interval)}"
        marks[text] = Line2D([], [], color=style.INK, marker="|", markersize=8)
    if marks:
        style.legend(
            ax, handles=list(marks.values()), labels=list(marks), ncols=len(marks),
            loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2,
        )  # fmt: skip
    columns.title(ax, title, frame, pad=24 if marks else 6)  # above the legend
    return ax


def _row_names(rows: pd.DataFrame) -> list[str]:
    names = rows["policy"].astype(str)
    if "order" in rows and rows["order"].nunique() > 1:
        names = names + ", " + rows["order"].astype(str)
    return names.tolist()


def _unserved(rows: pd.DataFrame) -> list[int]:
    """Return the requests that were refused or failed, row by row."""
    given = [rows[key].fillna(0).to_numpy() for key in ("refused", "failed") if key in rows]
    return [int(sum(numbers)) for numbers in zip(*given, strict=True)] if given else [0] * len(rows)


def latency_distribution(
    latencies_s: Mapping[str, npt.ArrayLike], ax: Axes | None = None, title: str = ""
) -> Axes:
    """Draw the distribution of latencies, log scale: one line per name (live and simulated, say).

    NaN (not answered) does not count, and is said in the legend. Dots mark the 50th, 95th and 99th
    percentiles. What took next to no time (answers from the result cache) lies beyond the left edge.
    """
    ax = style.axes(ax)
    least_s = np.inf  # of what took time
    for index, (name, values) in enumerate(latencies_s.items()):
        numbers = np.sort(np.asarray(values, dtype=float))
        unanswered = int(np.isnan(numbers).sum())
        numbers = numbers[~np.isnan(numbers)]
        if not numbers.size:
            raise InputError("plot", name, "no latency", "at least one answered request")
        # a log axis has no zero: what took no time stands at a microsecond
        seconds = np.maximum(numbers, 1e-6)
        least_s = min(least_s, seconds[seconds > _NEXT_TO_NOTHING_S].min(initial=np.inf))
        share = np.arange(1, len(seconds) + 1) / len(seconds)
        drawn = np.unique(np.linspace(0, len(seconds) - 1, 5000).astype(int))
        colour = style.colour(index)
        dashes = ("-", (0, (4, 2)), "-.", ":")[index % 4]
        ax.step(
            seconds[drawn], 100 * share[drawn], where="post", color=colour, linewidth=2, linestyle=dashes,
            label=f"{name} ({len(seconds):,} requests{f', {unanswered:,} unanswered' * (unanswered > 0)})",
        )  # fmt: skip
        marks = np.percentile(seconds, [50, 95, 99])
        ax.plot(
            marks, [50, 95, 99], linestyle="", marker=style.MARKERS[index % 8], color=colour, markersize=6
        )
    ax.set_xscale("log")
    if np.isfinite(least_s):
        ax.set_xlim(left=least_s / 1.5)
    ax.xaxis.set_major_formatter(lambda seconds, _: _duration(seconds))
    ax.set_yticks([0, 25, 50, 75, 95, 99])
    ax.set_ylim(0, 101)
    ax.set_xlabel("Latency, arrival to answer (log scale)")
    ax.set_ylabel("Requests answered within it (%)")
    style.grid(ax)
    style.legend(ax, loc="lower right")
    style.title(ax, title)
    return ax


def capacity_plot(
    frame: pd.DataFrame, value: str = "hit_rate", ax: Axes | None = None, title: str = "", interval: str = ""
) -> Axes:
    """Draw a figure over capacity, one line per policy; bands are intervals (`interval` says of what).

    Rows as of :func:`~vramlab.analysis.curves.capacity_curve`; those of policy ``optimum`` are a dashed line.
    """
    columns.need(frame, "policy", "capacity_bytes", value)
    label, factor = columns.label(value, frame[value])
    unit, unit_name = style.bytes_unit(frame["capacity_bytes"].max())
    ax = style.axes(ax)
    shown = 0
    for name, rows in frame.dropna(subset=[value]).groupby("policy", sort=False):
        rows = rows.sort_values("capacity_bytes")
        best = name == "optimum"
        colour = style.OPTIMUM if best else style.colour(shown)
        ax.plot(
            rows["capacity_bytes"] / unit, rows[value] * factor, color=colour, linewidth=1.8,
            linestyle="--" if best else "-", marker="" if best else style.MARKERS[shown % 8], markersize=5,
            label="offline optimum" if best else str(name),
        )  # fmt: skip
        band(ax, rows, rows["capacity_bytes"].to_numpy() / unit, value, factor, colour)
        shown += not best
    if columns.has_interval(frame, value):
        text = f"band: {columns.interval_text(frame, value, interval)}"
        ax.fill_between([], [], [], color=style.QUIET, alpha=0.3, linewidth=0, label=text)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"Memory for models ({unit_name})")
    ax.set_ylabel(label)
    style.grid(ax)
    style.legend(ax)
    style.title(ax, title)
    return ax


def _duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:g} µs"
    return f"{seconds * 1e3:g} ms" if seconds < 1 else f"{seconds:g} s"
