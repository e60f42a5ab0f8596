"""Figures over settings: a map over two, a curve over one, and the front of those that no other beats.

What may mislead is refused or said: a map that would average over a setting, an axis that makes a cliff of a
little step, a front whose points all bear one name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vramlab.analysis import columns, style
from vramlab.config.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# An axis spans at least this part of the largest value on it: what differs by less looks alike.
_LEAST_SPAN = 0.2
_LABELLED = 6  # points of a front


# it has as many choices as a figure has, each with a default
def zone_heat_map(
    frame: pd.DataFrame,
    x: str,
    y: str,
    value: str = "load_cost_s",
    ax: Axes | None = None,
    title: str = "",
    over: Sequence[str] = (),
) -> Axes:
    """Draw a figure over two settings (two zone sizes, say) as a map with its numbers.

    The best cells have a frame: all that cannot be told from the best by the numbers shown. Rows of one cell
    that differ by their seed are averaged, and the label says so.

    Parameters
    ----------
    over : sequence of str
        Other settings to average over, knowingly.

    Raises
    ------
    InputError
        If rows of one cell differ in another setting, naming it.
    """
    from matplotlib.patches import Rectangle

    columns.need(frame, x, y, value)
    averaged = _averaged(frame, x, y, over)
    table = frame.pivot_table(index=y, columns=x, values=value, aggfunc="mean").sort_index()
    label, factor = columns.label(value, frame[value])
    cells = table.to_numpy(dtype=float) * factor
    count, width = cells.shape
    ax = style.axes(ax, width=2.2 + 0.75 * width, height=1.5 + 0.5 * count)
    low_is_better = not columns.higher(value)
    image = ax.imshow(cells, origin="lower", aspect="auto", cmap=style.MAP + ("_r" if low_is_better else ""))
    bar = ax.figure.colorbar(image, ax=ax, label=f"{label}{averaged}")
    bar.outline.set_visible(False)
    best = columns.short(float(np.nanmin(cells) if low_is_better else np.nanmax(cells)))
    for row, column in np.ndindex(count, width):
        number = cells[row, column]
        if np.isnan(number):
            continue
        red, green, blue, _ = image.cmap(image.norm(number))
        ink = "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else style.INK
        text = columns.short(float(number))
        ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)
        if text == best:
            ax.add_patch(
                Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=style.OPTIMUM, linewidth=2.5)
            )
    ax.set_xticks(np.arange(width), [columns.plain(size) for size in table.columns])
    ax.set_yticks(np.arange(count), [columns.plain(size) for size in table.index])
    ax.set_xlabel(columns.setting(x))
    ax.set_ylabel(columns.setting(y))
    ax.spines[:].set_visible(False)
    columns.title(ax, title, frame)
    return ax


def _averaged(frame: pd.DataFrame, x: str, y: str, over: Sequence[str]) -> str:
    """Return what the numbers are means of, for the label; or the error that names what they would hide."""
    cells = frame.groupby([x, y], dropna=False)
    most = int(cells.size().max())
    if most == 1:
        return ""
    several = [
        name
        for name in columns.settings_in(frame)
        if name not in (x, y) and (cells[name].nunique(dropna=False) > 1).any()
    ]
    for name in several:
        if name not in ("seed", *over):
            values = ", ".join(map(str, frame[name].unique()[:4]))
            expected = f"one: choose rows of one {name}, or over=[{name!r}] for the mean over them"
            raise InputError("plot", f"column {name}", f"several values in one cell ({values})", expected)
    what = " and ".join("seeds" if name == "seed" else name for name in several)
    return f", mean over {what}" if what else f", mean of {most} runs"


# it has as many choices as a figure has, each with a default
def threshold_curves(
    frame: pd.DataFrame,
    x: str,
    values: Sequence[str] = ("cold_start_rate",),
    by: str | None = None,
    ax: Axes | None = None,
    title: str = "",
    interval: str = "",
) -> Axes:
    """Return one or two figures over a setting (a threshold), with intervals; the second has its own axis.

    No axis is narrower than a fifth of its largest value, so that a step of half a percent looks like one.

    Parameters
    ----------
    by : str, optional
        One line per value of this column; then only one figure.
    interval : str
        What the bands are of.
    """
    columns.need(frame, x, *values, *([by] if by else []))
    if len(values) > 2 or (by and len(values) > 1):
        raise InputError("plot", "values", list(values), "one figure, or two without `by`")
    ax = style.axes(ax)
    label = columns.label(values[0], frame[values[0]])
    if by:
        for index, (name, rows) in enumerate(frame.groupby(by, sort=False)):
            _line(ax, rows, x, values[0], index, (f"{name}", label[1]))
    else:
        _line(ax, frame, x, values[0], 0, label)
    ax.set_ylabel(label[0] + _calm(ax))
    ax.set_xlabel(columns.setting(x))
    style.grid(ax)
    columns.title(ax, title, frame)
    if columns.has_interval(frame, values[0]):
        ax.fill_between([], [], [], color=style.QUIET, alpha=0.3, linewidth=0,
                        label=f"band: {columns.interval_text(frame, values[0], interval)}")  # fmt: skip
    if by or columns.has_interval(frame, values[0]):
        style.legend(ax, title=columns.setting(by) if by else None)
    if len(values) == 2:
        other = ax.twinx()
        other.spines[["top", "left", "bottom"]].set_visible(False)
        second = columns.label(values[1], frame[values[1]])
        _line(other, frame, x, values[1], 5, second)
        for its, index, text in ((ax, 0, ax.get_ylabel()), (other, 5, second[0] + _calm(other))):
            its.set_ylabel(text, color=style.colour(index))
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
    """Return all runs as points, and the front of those that no other run beats in both figures.

    Which way a figure is better is said on its axis. Labels are for the ends of the front and its knee (in
    bold, see :func:`knee`), and for more where there is room.

    Parameters
    ----------
    label : str or None
        Column that names the points; None: no names. Where it says the same of all points of the front, the
        settings in which they differ do.
    """
    columns.need(frame, x, y, *([label] if label else []))
    frame = frame.dropna(subset=[x, y])
    beats = on_front(frame[x].to_numpy(), frame[y].to_numpy(), columns.higher(x), columns.higher(y))
    front = frame[beats].sort_values(x)
    (x_label, x_factor), (y_label, y_factor) = columns.label(x, frame[x]), columns.label(y, frame[y])
    ax = style.axes(ax, height=4.6)
    ax.scatter(
        frame[x] * x_factor, frame[y] * y_factor, s=22, color="#BDBDBD", zorder=2,
        label=f"beaten ({len(frame) - len(front):,} of {len(frame):,} runs)",
    )  # fmt: skip
    ax.plot(
        front[x] * x_factor, front[y] * y_factor, color=style.PALETTE[0], marker="o", markersize=7,
        linewidth=1.2, drawstyle="steps-post" if not columns.higher(y) else "steps-pre",
        label="not beaten in both", zorder=3,
    )  # fmt: skip
    ax.margins(0.12)
    if label:
        alike = len(front) > 1 and front[label].nunique() == 1
        names = _names(front) if alike else [str(name) for name in front[label]]
        places = front[x].to_numpy() * x_factor, front[y].to_numpy() * y_factor
        _label_front(ax, *places, names, knee(*places, columns.higher(x)))
    for which, text, key in ((ax.set_xlabel, x_label, x), (ax.set_ylabel, y_label, y)):
        which(f"{text}, {'higher' if columns.higher(key) else 'lower'} is better")
    style.grid(ax)
    style.legend(ax)
    columns.title(ax, title, frame)
    return ax


def on_front(x: np.ndarray, y: np.ndarray, x_higher: bool = False, y_higher: bool = False) -> np.ndarray:
    """Flag the points that no other point beats: at least as good in both figures, better in one."""
    x, y = (-x if x_higher else x), (-y if y_higher else y)
    better = (x[:, None] <= x) & (y[:, None] <= y) & ((x[:, None] < x) | (y[:, None] < y))
    return np.asarray(~better.any(axis=0))


def knee(x: np.ndarray, y: np.ndarray, x_higher: bool = False) -> int:
    """Point of a front that gains most in one figure for what it costs in the other, as parts of the front.

    An end where no point lies on the better side of the line between the ends.
    """
    if len(x) < 3:
        return 0
    across, up = (np.asarray((axis - axis[0]) / ((axis[-1] - axis[0]) or 1.0)) for axis in (x, y))
    return int(np.argmax(across - up if x_higher else up - across))


def _names(front: pd.DataFrame) -> list[str]:
    """Return what tells the runs of a front apart: the last part of a key, and its value."""
    keys = [key for key in columns.differing(front) if key != "seed"]
    if not keys:
        return ["" for _ in range(len(front))]
    bare = [key in ("policy", "order", "trace", "scoring.policy", "serving.order") for key in keys]
    return [
        "\n".join(
            columns.plain(value) if alone else f"{key.rpartition('.')[2]} {columns.plain(value)}"
            for key, alone, value in zip(keys, bare, row, strict=True)
        )
        for row in front[keys].itertuples(index=False)
    ]


def _label_front(ax: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str], best: int) -> None:
    """Name the ends and the knee, then others that are far enough from all that have a name."""
    if not len(x):
        return
    order = list(dict.fromkeys([best, 0, len(x) - 1, *range(len(x))]))
    wide, tall = np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())
    named: list[int] = []
    for point in order:
        far = all(
            abs(x[point] - x[other]) > 0.14 * wide or abs(y[point] - y[other]) > 0.08 * tall
            for other in named
        )
        if names[point] and (far or point in (best, 0, len(x) - 1)) and len(named) < _LABELLED:
            named.append(point)
            bold = point == best and 0 < best < len(x) - 1
            ax.annotate(
                names[point], (x[point], y[point]), xytext=(7, 6), textcoords="offset points", fontsize=9,
                color=style.INK, zorder=4, fontweight="bold" if bold else "normal",
            )  # fmt: skip


def _line(ax: Axes, rows: pd.DataFrame, x: str, value: str, index: int, name: tuple[str, float]) -> None:
    """Return one line, and its band; `name` is its label and the factor of its figure."""
    rows = rows.sort_values(x)
    label, factor = name
    ax.plot(
        rows[x], rows[value] * factor, color=style.colour(index), marker=style.MARKERS[index % 8],
        markersize=5, linewidth=1.8, label=label,
    )  # fmt: skip
    band(ax, rows, rows[x].to_numpy(), value, factor, style.colour(index))


def band(ax: Axes, rows: pd.DataFrame, x: np.ndarray, value: str, factor: float, colour: str) -> None:
    """Return the shade the interval of a figure, where it has one."""
    if columns.has_interval(rows, value):
        low, high = (rows[f"{value}_{end}"].to_numpy(dtype=float) * factor for end in ("low", "high"))
        ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def _calm(ax: Any) -> str:
    """Return widen the upright axis where it spans too little. Returns what the label is to add."""
    low, high = ax.dataLim.y0, ax.dataLim.y1
    if not np.isfinite([low, high]).all():
        return ""
    least = _LEAST_SPAN * max(abs(low), abs(high))
    lack = max(least - (high - low), 0.0) / 2
    below, above = low - lack, high + lack
    if low >= 0 and below < above / 3:  # near enough to begin where everything does
        below, above = 0.0, max(above, high)
    room = 0.05 * (above - below)
    bottom = max(below - room, 0.0) if low >= 0 else below - room
    ax.set_ylim(bottom, above + (room or 1.0))
    return "" if bottom <= 0 <= above else ", axis not from 0"
