"""Plots of one run over time: who was in VRAM when, and how much of it was held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vramlab.analysis import style
from vramlab.analysis.density import draw_density, slices
from vramlab.analysis.layouts import memory_map
from vramlab.analysis.names import display_names
from vramlab.config.errors import InputError
from vramlab.runs.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Stay", "memory_map", "residency_timeline", "stays", "vram_use"]

_Look = dict[str, Any]  # options of matplotlib

# Beyond so many stays their marks would hide them, and beyond so many they hide one another.
_MANY, _TOO_MANY = 150, 400


class Stay(NamedTuple):
    """One stay of a model in VRAM: loading from `load_s`, resident from `from_s` to `to_s`, in seconds.

    ``evicted`` is False where the run ended first.
    """

    model: str
    zone: str
    load_s: float
    from_s: float
    to_s: float
    evicted: bool


def stays(records: Records) -> list[Stay]:
    """Return all stays of a run, from its loads and evictions, in order of loading."""
    end = _end_s(records)
    leaving: dict[str, list[float]] = {}
    for eviction in records.evictions:
        leaving.setdefault(eviction.model, []).append(eviction.time_s)
    taken = dict.fromkeys(leaving, 0)
    found = []
    # a model's stays never overlap, so its n-th eviction ends the n-th stay that began before it
    for load in sorted(records.loads, key=lambda load: (load.start_s, load.end_s)):
        if load.error or load.reason == "bypass":
            continue
        times, index = leaving.get(load.model, []), taken.get(load.model, 0)
        evicted = index < len(times)
        if evicted:
            taken[load.model] = index + 1
        to = times[index] if evicted else max(end, load.end_s)
        found.append(Stay(load.model, load.zone, load.start_s, load.end_s, to, evicted))
    return found


# it has as many choices as a figure has, each with a default
def residency_timeline(
    records: Records,
    ax: Axes | None = None,
    models: Sequence[str] | None = None,
    most: int = 20,
    title: str = "",
    legend_above: bool = False,
    window_s: tuple[float, float] | None = None,
) -> Axes:
    """Who was in VRAM when: a bar per stay in its zone's colour, pale while loading, evictions marked.

    Ticks under the bars are the requests for the model. Where there are more stays than can be told apart,
    each slice of time has a shade instead: how much of it the model was in VRAM. Under it stand the requests
    in the slice, those that were not served from VRAM in front (heights are square roots). What the names of
    all models begin with is left out.

    Parameters
    ----------
    models : sequence of str, optional
        Rows from top to bottom; by default the `most` most requested.
    legend_above : bool
        Put the legend in one line above the axes, not beside them.
    window_s : (float, float), optional
        Draw what happened between two times, in seconds since the first request.
    """
    codes = records.model_codes
    if models is None:
        order = np.argsort(-np.bincount(codes, minlength=len(records.model_names)), kind="stable")
        models = [records.model_names[index] for index in order[:most]]
    rows = {name: len(models) - 1 - index for index, name in enumerate(models)}
    ax = style.axes(ax, width=9, height=1.6 + 0.3 * len(rows))
    start = float(records.arrival_s[0])
    first, last = _window(window_s, _end_s(records) - start)
    unit, unit_name = style.time_unit(last - first)
    shown = [
        stay
        for stay in stays(records)
        if stay.model in rows and stay.to_s >= start + first and stay.load_s <= start + last
    ]
    marks: list[Any]
    if len(shown) > _TOO_MANY:
        marks = draw_density(ax, records, rows, shown, slices(start + first, start + last), (start, unit))
    else:
        marks = _stays(ax, records, rows, shown, (start, unit), (start + first, start + last))
    names = dict(zip(records.model_names, display_names(records.model_names), strict=True))
    ax.set_yticks(list(rows.values()), [names.get(name, name) for name in rows])
    ax.set_ylim(-0.7, len(rows) - 0.3)
    ax.set_xlim(first / unit, last / unit)
    ax.set_xlabel(f"Time since the first request ({unit_name})")
    style.grid(ax, "x")
    if legend_above:
        place: _Look = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.1}
        place |= {"ncols": len(marks), "fontsize": 8, "columnspacing": 1.2, "handlelength": 1.4}
        style.legend(ax, handles=marks, **place)
    else:
        style.legend(ax, outside=True, handles=marks)
    style.title(ax, title)
    return ax


def _window(window_s: tuple[float, float] | None, length_s: float) -> tuple[float, float]:
    if window_s is None:
        return 0.0, length_s
    first, last = window_s
    if not 0 <= first < last:
        raise InputError(
            "plot", "window_s", window_s, f"two times from 0 to {length_s:.6g} s, in their order"
        )
    return first, min(last, length_s) if first < length_s else last


def _stays(
    ax: Axes,
    records: Records,
    rows: Mapping[str, int],
    shown: Sequence[Stay],
    axis: tuple[float, float],
    window_s: tuple[float, float],
) -> list[Any]:
    """Draw every stay by itself. Returns what the legend is to show."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    zones = {zone: style.colour(index) for index, zone in enumerate(records.zone_names)}
    start, unit = axis
    # one collection each for loading and resident: thousands of patches would take seconds
    edges = np.array([(stay.load_s, stay.from_s, stay.to_s) for stay in shown]).reshape(-1, 3)
    edges = (edges - start) / unit
    low = np.array([rows[stay.model] + 0.08 for stay in shown])
    colours = [zones.get(stay.zone, style.QUIET) for stay in shown]
    _bars(ax, edges[:, 0], edges[:, 1], low, 0.52, colours, alpha=0.35, label="loading")
    _bars(ax, edges[:, 1], edges[:, 2], low, 0.52, colours, label="resident")
    # where there are too many to tell apart, loads show as the bars' beginnings, and evictions as thin ticks
    many = len(shown) > _MANY
    loads = [(begin, rows[stay.model] + 0.08) for stay, begin in zip(shown, edges[:, 0], strict=True)]
    gone = [
        (end, rows[stay.model] + (0.44 if many else 0.08))
        for stay, end in zip(shown, edges[:, 2], strict=True)
        if stay.evicted
    ]
    load_mark: _Look = {"marker": ">", "color": style.INK, "markersize": 5, "markeredgewidth": 0}
    gone_mark: _Look = {"marker": "x", "color": style.OPTIMUM, "markersize": 5, "markeredgewidth": 1.4}
    if many:
        gone_mark |= {"marker": "|", "markersize": 4, "markeredgewidth": 0.5}
    for points, mark in ((gone, gone_mark), ([] if many else loads, load_mark)):
        if points:
            ax.plot(*zip(*points, strict=True), linestyle="", **mark)
    _requests(ax, records, rows, axis, window_s)
    used = {stay.zone for stay in shown}
    marks: list[Patch | Line2D] = [
        Patch(color=colour, label=f"resident in {zone}") for zone, colour in zones.items() if zone in used
    ]
    marks.append(Patch(color=style.QUIET, alpha=0.35, label="loading"))
    seen = {"markersize": 7, "markeredgewidth": 1.4}  # in the legend at any density
    if not many:
        marks.append(Line2D([], [], linestyle="", label="load begins", **load_mark))
    marks.append(Line2D([], [], linestyle="", label="eviction", **gone_mark | seen))
    marks.append(Line2D([], [], linestyle="", marker="|", color=style.INK, markersize=6, label="request"))
    return marks


def vram_use(
    records: Records,
    ax: Axes | None = None,
    zone_caps_bytes: Mapping[str, int] | None = None,
    budget_bytes: int | None = None,
    title: str = "",
) -> Axes:
    """Draw the bytes held over time, zones stacked; the sum of the caps or the budget as a line.

    Long runs are drawn as the mean over slices of time, with the most ever held as a line above.
    """
    if not records.usage:
        raise InputError("plot", "usage", "no records", "a run that recorded its memory use")
    times, bytes_held = records.usage_columns()
    held = bytes_held.T.astype(float)
    end = max(_end_s(records), times[-1])
    top = max(held.sum(axis=0).max(), budget_bytes or 0)
    unit, unit_name = style.bytes_unit(top)
    per, per_name = style.time_unit(end - times[0])
    ax = style.axes(ax, width=9, height=3.6)
    slices = 600
    peak = None
    if len(times) > 3 * slices:
        edges = np.linspace(times[0], end, slices + 1)
        peak = _slice_peak(times, held.sum(axis=0), edges)
        held = np.array([_slice_mean(times, row, edges) for row in held])
        times = edges[:-1]
    drawn = (np.append(times, end) - times[0]) / per
    ax.stackplot(
        drawn, np.column_stack([held, held[:, -1]]) / unit, step="post", labels=records.zone_names,
        colors=[style.colour(index) for index in range(len(records.zone_names))], alpha=0.85, linewidth=0,
    )  # fmt: skip
    if peak is not None:
        ax.step(drawn, np.append(peak, peak[-1]) / unit, where="post", color=style.INK, linewidth=0.7,
                label="most in the slice")  # fmt: skip
    if zone_caps_bytes:
        stacked = np.cumsum([zone_caps_bytes[zone] for zone in records.zone_names]) / unit
        for index, cap in enumerate(stacked):
            ax.axhline(cap, color=style.colour(index), linestyle=":", linewidth=1.3)
    if budget_bytes is not None:
        ax.axhline(budget_bytes / unit, color=style.OPTIMUM, linestyle="--", linewidth=1.6, label="budget")
    ax.set_xlim(drawn[0], drawn[-1])
    ax.set_ylim(0, 1.08 * top / unit)
    ax.set_xlabel(f"Time since the first load ({per_name})")
    ax.set_ylabel(f"VRAM held ({unit_name})")
    style.grid(ax, "y")
    style.legend(ax, outside=True)
    style.title(ax, title)
    return ax


def _bars(
    ax: Axes,
    left: np.ndarray,
    right: np.ndarray,
    low: np.ndarray,
    height: float,
    colours: Sequence[str],
    **options: Any,
) -> None:
    """Draw horizontal bars from `left` to `right`, as one collection."""
    from matplotlib.collections import PolyCollection

    corners = [(left, low), (left, low + height), (right, low + height), (right, low)]
    boxes = np.array(corners).transpose(2, 0, 1) if len(left) else np.empty((0, 4, 2))
    ax.add_collection(PolyCollection(list(boxes), facecolors=list(colours), linewidths=0, **options))


def _requests(
    ax: Axes,
    records: Records,
    rows: Mapping[str, int],
    axis: tuple[float, float],
    window_s: tuple[float, float],
) -> None:
    """Draw ticks below the bars: everything that was asked for, served from VRAM or not."""
    start, unit = axis
    lanes = np.array([rows.get(name, -1) for name in records.model_names])[records.model_codes]
    shown = (lanes >= 0) & (records.arrival_s >= window_s[0]) & (records.arrival_s <= window_s[1])
    many = shown.sum() >= 1000
    x, y = (records.arrival_s[shown] - start) / unit, lanes[shown]
    width = (window_s[1] - window_s[0]) / unit
    if many and width > 0:
        # ticks that would fall on one another are drawn once
        _, first = np.unique(np.round((x - x[0]) / width * 1500) + 1501 * y, return_index=True)
        x, y = x[first], y[first]
    ax.plot(
        x, y - 0.29, linestyle="", marker="|", markersize=3.2, markeredgewidth=0.6, color=style.INK,
        alpha=0.5 if many else 1.0,
    )  # fmt: skip


def _end_s(records: Records) -> float:
    return float(np.nanmax(np.concatenate([records.finish_s, records.arrival_s[-1:]])))


def _slice_mean(times: np.ndarray, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the mean over time of a step function between consecutive `edges`."""
    spans = np.diff(np.append(times, edges[-1]))
    area = np.concatenate([[0.0], np.cumsum(values * spans)])
    mean: np.ndarray = np.diff(np.interp(edges, np.append(times, edges[-1]), area)) / np.diff(edges)
    return mean


def _slice_peak(times: np.ndarray, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the most that a step function reaches between consecutive `edges`."""
    first = np.maximum(np.searchsorted(times, edges[:-1], side="right") - 1, 0)
    last = np.maximum(np.searchsorted(times, edges[1:], side="left"), first + 1)
    return np.array([values[a:b].max() for a, b in zip(first, last, strict=True)])
