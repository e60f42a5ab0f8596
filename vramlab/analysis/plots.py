"""Plots of results: policies, capacities, settings, latencies. Timelines of one run stand in `timelines`.

Each function takes a results frame (rows as of ``vramlab compare`` or a sweep: one row per run, one column
per setting and figure, seconds and bytes) and optional Axes, and returns the Axes. Columns ``NAME_low`` and
``NAME_high`` beside a figure NAME are drawn as its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from vramlab.analysis import style
from vramlab.analysis.timelines import memory_map, residency_timeline, vram_use
from vramlab.config.errors import InputError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "capacity_plot", "latency_distribution", "memory_map", "on_front", "pareto_front", "policy_bars",
    "residency_timeline", "threshold_curves", "vram_use", "zone_heat_map",
]  # fmt: skip

# Figures that have a better name than their key, or another unit: label, factor.
_LABELS: dict[str, tuple[str, float]] = {
    "hit_rate": ("Hit rate (%)", 100.0),
    "cold_start_rate": ("Cold starts (% of requests)", 100.0),
    "load_cost_s": ("Load cost (h)", 1 / 3600),
    "gap_closed": ("Gap to the optimum closed (%)", 100.0),
    "latency_mean_s": ("Mean latency (s)", 1.0),
    "latency_p50_s": ("Median latency (s)", 1.0),
    "latency_p95_s": ("Latency, 95th percentile (s)", 1.0),
    "latency_p99_s": ("Latency, 99th percentile (s)", 1.0),
}

_NEXT_TO_NOTHING_S = 50e-6


def policy_bars(
    frame: pd.DataFrame,
    value: str = "load_cost_s",
    ax: Axes | None = None,
    optimum: float | None = None,
    optimum_label: str = "offline optimum",
    title: str = "",
) -> Axes:
    """Draw a figure by policy, the best on top, with intervals where there are any.

    Parameters
    ----------
    frame : DataFrame
        Columns ``policy`` and `value`.
    optimum : float, optional
        Drawn as a line, in the unit of the column.
    """
    _need(frame, "policy", value)
    low_is_better = not _higher(value)
    rows = frame.dropna(subset=[value]).sort_values(value, ascending=not low_is_better, kind="stable")
    label, factor = _label(value, rows[value])
    ax = style.axes(ax, height=1.4 + 0.38 * len(rows))
    numbers = rows[value].to_numpy(dtype=float) * factor
    spread = _spread(rows, value, factor)
    best = len(rows) - 1
    colours = [style.PALETTE[0] if index == best else style.PALETTE[4] for index in range(len(rows))]
    ax.barh(
        np.arange(len(rows)), numbers, color=colours, height=0.66, xerr=spread,
        error_kw={"ecolor": style.INK, "elinewidth": 1.2, "capsize": 3},
    )  # fmt: skip
    reach = numbers if spread is None else numbers + spread[1]
    longest = max(reach.max(), (optimum or 0.0) * factor) or 1.0
    for position, (number, end) in enumerate(zip(numbers, reach, strict=True)):
        ax.text(end + 0.012 * longest, position, _short(number), va="center", fontsize=9, color=style.INK)
    ax.set_yticks(np.arange(len(rows)), rows["policy"].astype(str))
    ax.set_xlim(0, longest * 1.12)
    ax.set_xlabel(label)
    style.grid(ax, "x")
    if optimum is not None:
        line = ax.axvline(optimum * factor, color=style.OPTIMUM, linestyle="--", linewidth=1.8)
        style.legend(
            ax, handles=[line], labels=[f"{optimum_label} {_short(optimum * factor)}"],
            loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2,
        )  # fmt: skip
    style.title(ax, title)
    return ax


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
    frame: pd.DataFrame, value: str = "hit_rate", ax: Axes | None = None, title: str = ""
) -> Axes:
    """Draw a figure over capacity, one line per policy.

    Rows as of :func:`~vramlab.analysis.curves.capacity_curve`; those of policy ``optimum`` are a dashed line.
    """
    _need(frame, "policy", "capacity_bytes", value)
    label, factor = _label(value, frame[value])
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
        _band(ax, rows, rows["capacity_bytes"].to_numpy() / unit, value, factor, colour)
        shown += not best
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"Memory for models ({unit_name})")
    ax.set_ylabel(label)
    style.grid(ax)
    style.legend(ax)
    style.title(ax, title)
    return ax


def zone_heat_map(
    frame: pd.DataFrame, x: str, y: str, value: str = "load_cost_s", ax: Axes | None = None, title: str = ""
) -> Axes:
    """Draw a figure over two settings (two zone sizes, say) as a map with its numbers.

    The best cell has a frame. Several rows for one cell (seeds) are averaged.
    """
    from matplotlib.patches import Rectangle

    _need(frame, x, y, value)
    table = frame.pivot_table(index=y, columns=x, values=value, aggfunc="mean").sort_index()
    label, factor = _label(value, frame[value])
    cells = table.to_numpy(dtype=float) * factor
    rows, columns = cells.shape
    ax = style.axes(ax, width=2.2 + 0.75 * columns, height=1.5 + 0.5 * rows)
    low_is_better = not _higher(value)
    image = ax.imshow(cells, origin="lower", aspect="auto", cmap=style.MAP + ("_r" if low_is_better else ""))
    bar = ax.figure.colorbar(image, ax=ax, label=label)
    bar.outline.set_visible(False)
    for row, column in np.ndindex(rows, columns):
        number = cells[row, column]
        if np.isnan(number):
            continue
        red, green, blue, _ = image.cmap(image.norm(number))
        ink = "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else style.INK
        ax.text(column, row, _short(float(number)), ha="center", va="center", color=ink, fontsize=9)
    best = np.nanargmin(cells) if low_is_better else np.nanargmax(cells)
    row, column = np.unravel_index(best, cells.shape)
    ax.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=style.OPTIMUM, linewidth=2.5)
    )
    ax.set_xticks(np.arange(columns), [_plain(size) for size in table.columns])
    ax.set_yticks(np.arange(rows), [_plain(size) for size in table.index])
    ax.set_xlabel(_setting(x))
    ax.set_ylabel(_setting(y))
    ax.spines[:].set_visible(False)
    style.title(ax, title)
    return ax


def threshold_curves(
    frame: pd.DataFrame,
    x: str,
    values: Sequence[str] = ("cold_start_rate",),
    by: str | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw one or two figures over a setting, with intervals; the second has its own axis.

    Parameters
    ----------
    by : str, optional
        One line per value of this column; then only one figure.
    """
    _need(frame, x, *values, *([by] if by else []))
    if len(values) > 2 or (by and len(values) > 1):
        raise InputError("plot", "values", list(values), "one figure, or two without `by`")
    ax = style.axes(ax)
    if by:
        for index, (name, rows) in enumerate(frame.groupby(by, sort=False)):
            _line(ax, rows, x, values[0], index, f"{name}")
        style.legend(ax, title=_setting(by))
    else:
        _line(ax, frame, x, values[0], 0, _label(values[0], frame[values[0]])[0])
    ax.set_ylabel(_label(values[0], frame[values[0]])[0])
    ax.set_xlabel(_setting(x))
    style.grid(ax)
    style.title(ax, title)
    if len(values) == 2:
        other = ax.twinx()
        other.spines[["top", "left", "bottom"]].set_visible(False)
        _line(other, frame, x, values[1], 5, _label(values[1], frame[values[1]])[0])
        for its, index, value in ((ax, 0, values[0]), (other, 5, values[1])):
            its.set_ylabel(_label(value, frame[value])[0], color=style.colour(index))
            its.tick_params(axis="y", colors=style.colour(index))
    return ax


def pareto_front(
    frame: pd.DataFrame,
    x: str = "load_cost_s",
    y: str = "latency_p95_s",
    label: str | None = "policy",
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw all runs as points, and the front of those that no other beats in both figures.

    Figures ending in ``_rate`` or ``_closed`` are better when higher, all others when lower. `label` names
    the points of the front.
    """
    _need(frame, x, y, *([label] if label else []))
    frame = frame.dropna(subset=[x, y])
    front = frame[on_front(frame[x].to_numpy(), frame[y].to_numpy(), _higher(x), _higher(y))].sort_values(x)
    (x_label, x_factor), (y_label, y_factor) = _label(x, frame[x]), _label(y, frame[y])
    ax = style.axes(ax, height=4.6)
    ax.scatter(frame[x] * x_factor, frame[y] * y_factor, s=22, color="#BDBDBD", label="other runs", zorder=2)
    ax.plot(
        front[x] * x_factor, front[y] * y_factor, color=style.PALETTE[0], marker="o", markersize=7,
        linewidth=1.2, drawstyle="steps-post" if not _higher(y) else "steps-pre", label="not beaten in both",
        zorder=3,
    )  # fmt: skip
    if label:
        for _, row in front.iterrows():
            ax.annotate(
                str(row[label]), (row[x] * x_factor, row[y] * y_factor), xytext=(7, 6),
                textcoords="offset points", fontsize=9, color=style.INK, zorder=4,
            )  # fmt: skip
    ax.margins(0.12)
    ax.set_xlabel(f"{x_label}, {'higher' if _higher(x) else 'lower'} is better")
    ax.set_ylabel(f"{y_label}, {'higher' if _higher(y) else 'lower'} is better")
    style.grid(ax)
    style.legend(ax)
    style.title(ax, title)
    return ax


def on_front(x: np.ndarray, y: np.ndarray, x_higher: bool = False, y_higher: bool = False) -> np.ndarray:
    """Flag the points that no other point beats: at least as good in both figures, better in one."""
    x, y = (-x if x_higher else x), (-y if y_higher else y)
    better = (x[:, None] <= x) & (y[:, None] <= y) & ((x[:, None] < x) | (y[:, None] < y))
    return np.asarray(~better.any(axis=0))


def _need(frame: pd.DataFrame, *columns: str) -> None:
    for column in columns:
        if column not in frame:
            expected = f"that column{nearest(column, map(str, frame.columns))}"
            raise InputError("plot", f"column {column}", "nothing", expected)
    if frame.empty:
        raise InputError("plot", "frame", "no rows", "at least one")


def _label(value: str, numbers: pd.Series) -> tuple[str, float]:
    """Return the axis label of a figure, and the factor from its column to the axis."""
    if value == "load_cost_s" and numbers.max() < 2 * 3600:
        return "Load cost (s)", 1.0
    if value.startswith("latency") and numbers.max() < 1:
        return _LABELS[value][0].replace("(s)", "(ms)"), 1000.0
    if value in _LABELS:
        return _LABELS[value]
    if "bytes" in value.split("_"):
        unit, name = style.bytes_unit(float(numbers.max()))
        what = " ".join(word for word in value.split("_") if word != "bytes").capitalize()
        return f"{what} ({name})", 1 / unit
    return (f"{_words(value[:-2])} (s)" if value.endswith("_s") else _words(value)), 1.0


def _setting(key: str) -> str:
    """Name of a setting for an axis: its dotted key, as one writes it, with the unit apart."""
    return f"{key[:-3]} (MB)" if key.endswith("_mb") else key


def _words(key: str) -> str:
    words = key.replace("_", " ").capitalize().split()
    return " ".join(word.upper() if word.lower() in ("gb", "mb") else word for word in words)


def _higher(value: str) -> bool:
    return value.endswith(("_rate", "_closed")) and value != "cold_start_rate"


def _spread(rows: pd.DataFrame, value: str, factor: float) -> np.ndarray | None:
    """Return the lengths of the error bars below and above, or None without intervals."""
    if f"{value}_low" not in rows or f"{value}_high" not in rows:
        return None
    number = rows[value].to_numpy(dtype=float)
    low, high = (rows[f"{value}_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
    return np.nan_to_num(np.abs(np.array([number - low, high - number]) * factor))


def _line(ax: Axes, rows: pd.DataFrame, x: str, value: str, index: int, name: str) -> None:
    rows = rows.sort_values(x)
    _, factor = _label(value, rows[value])
    ax.plot(
        rows[x], rows[value] * factor, color=style.colour(index), marker=style.MARKERS[index % 8],
        markersize=5, linewidth=1.8, label=name,
    )  # fmt: skip
    _band(ax, rows, rows[x].to_numpy(), value, factor, style.colour(index))


def _band(ax: Axes, rows: pd.DataFrame, x: np.ndarray, value: str, factor: float, colour: str) -> None:
    if f"{value}_low" in rows and f"{value}_high" in rows:
        low, high = (rows[f"{value}_{end}"].to_numpy(dtype=float) * factor for end in ("low", "high"))
        ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def _short(number: float) -> str:
    """Return a number with the three digits that matter."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:#.3g}".rstrip(".")


def _plain(number: object) -> str:
    return f"{number:g}" if isinstance(number, int | float) else str(number)


def _duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:g} µs"
    return f"{seconds * 1e3:g} ms" if seconds < 1 else f"{seconds:g} s"
