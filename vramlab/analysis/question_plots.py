"""Plots of answers to questions that people ask of their server: time-outs, pins, evictions, hardware."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vramlab.analysis import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GIB = 2.0**30


def duration(seconds: float) -> str:
    """A time-out, for people: ``90 s``, ``5 min``, ``6 h``, ``2 d``, ``for ever``."""
    if math.isinf(seconds):
        return "for ever"
    for unit_s, name in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * unit_s:
            return f"{seconds / unit_s:.3g} {name}"
    return f"{seconds:.3g} s"


def keep_alive_plot(same: pd.DataFrame, best: pd.DataFrame, budget_bytes: float, title: str = "") -> Axes:
    """Load time over mean memory: one time-out for all models, and the best one of each.

    Parameters
    ----------
    same : DataFrame
        Columns ``keep_alive_s``, ``load_s``, ``mean_bytes``; a row per time-out.
    best : DataFrame
        Columns ``load_s``, ``mean_bytes``; a row per amount of memory.
    budget_bytes : float
        Drawn as a line.
    """
    ax = style.axes(None)
    style.grid(ax)
    style.title(ax, title)
    ax.plot(best["mean_bytes"] / GIB, best["load_s"] / 3600, color=style.colour(0), label="one per model")
    ax.plot(
        same["mean_bytes"] / GIB, same["load_s"] / 3600, color=style.colour(1), marker="o", markersize=4,
        label="the same for all",
    )  # fmt: skip
    taken: list[tuple[float, float]] = []
    right, top = same["mean_bytes"].max() / GIB, same["load_s"].max() / 3600
    for timeout_s, mean, load_s in zip(same["keep_alive_s"], same["mean_bytes"], same["load_s"], strict=True):
        at = mean / GIB, load_s / 3600
        if all(math.hypot((at[0] - x) / right, (at[1] - y) / top) > 0.06 for x, y in taken):
            ax.annotate(duration(timeout_s), at, xytext=(5, 4), textcoords="offset points", fontsize=8)
            taken.append(at)
    ax.axvline(budget_bytes / GIB, color=style.QUIET, linestyle="--", linewidth=1)
    ax.annotate(
        f"{budget_bytes / GIB:.3g} GB", (budget_bytes / GIB, 1), xycoords=("data", "axes fraction"),
        xytext=(3, -10), textcoords="offset points", fontsize=8, color=style.QUIET,
    )  # fmt: skip
    ax.set_xlim(0, 1.12 * right)
    ax.set_ylim(0, 1.1 * top)
    ax.set_xlabel("Memory held, mean over time (GB)")
    ax.set_ylabel("Loading, all models (h)")
    style.legend(ax)
    return ax


def eviction_plot(
    evictions: pd.DataFrame, stays: Sequence[tuple[float, float]], asked_s: np.ndarray, title: str = ""
) -> Axes:
    """When a model was there, when it was asked for, and what each of its evictions cost later.

    Parameters
    ----------
    evictions : DataFrame
        Columns ``time_s`` and ``cost_s``.
    stays : sequence of (float, float)
        From when to when it was there, seconds.
    asked_s : ndarray
        Times of its requests, seconds.
    """
    ax = style.axes(None, height=3.4)
    style.grid(ax, "y")
    style.title(ax, title)
    last_s = max([*asked_s[-1:], *(end for _, end in stays), *evictions["time_s"]], default=1.0)
    per_s, unit = style.time_unit(float(last_s))
    most = max(float(evictions["cost_s"].max()) if len(evictions) else 0.0, 1e-9)
    ax.vlines(evictions["time_s"] / per_s, 0, evictions["cost_s"], color=style.colour(5), linewidth=1.5)
    ax.plot(
        evictions["time_s"] / per_s, evictions["cost_s"], "o", color=style.colour(5), markersize=5,
        label="evicted: seconds that it cost later",
    )  # fmt: skip
    for place, (start_s, end_s) in enumerate(stays):
        ax.plot(
            [start_s / per_s, end_s / per_s], [-0.08 * most] * 2, color=style.colour(0), linewidth=5,
            solid_capstyle="butt", label="there" if not place else None,
        )  # fmt: skip
    ax.plot(
        asked_s / per_s, np.full(len(asked_s), -0.18 * most), "|", color=style.INK, markersize=7,
        label="asked for",
    )  # fmt: skip
    ax.set_ylim(-0.28 * most, 1.12 * most)
    ax.set_yticks([tick for tick in ax.get_yticks() if 0 <= tick <= 1.12 * most])
    ax.set_xlabel(f"Time ({unit})")
    ax.set_ylabel("Cost (s)")
    style.legend(ax, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    return ax


def hardware_plot(table: pd.DataFrame, value: str, label: str, title: str = "") -> Figure:
    """What more memory brings, and what faster loading does, side by side on one scale.

    Parameters
    ----------
    table : DataFrame
        Columns ``change`` (``memory`` or ``loading``), ``memory_gb``, ``speed`` and `value`.
    """
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    parts = (
        ("memory", "memory_gb", "Memory for models (GB)"),
        ("loading", "speed", "Loading, times as fast"),
    )
    for place, (ax, (change, column, text)) in enumerate(zip((left, right), parts, strict=True)):
        style.axes(ax)
        style.grid(ax)
        part = table[table["change"].isin([change, "now"])].sort_values(column)
        ax.plot(part[column], part[value], color=style.colour(place), marker="o")
        now = part[part["change"] == "now"]
        ax.plot(now[column], now[value], "o", color=style.INK, markersize=9, fillstyle="none", label="now")
        ax.set_xlabel(text)
        style.legend(ax)
    left.set_ylim(0, 1.1 * float(table[value].max()))
    left.set_ylabel(label)
    style.title(left, title)
    return figure


def pin_plot(table: pd.DataFrame, title: str = "") -> Axes:
    """Seconds of delay that a pin adds to the requests for each model, or spares them.

    Parameters
    ----------
    table : DataFrame
        Columns ``model``, ``pinned`` and ``delay_s`` (with the pin, less without).
    """
    rows = table.iloc[table["delay_s"].abs().argsort()[::-1][:15]].sort_values("delay_s")
    ax = style.axes(None, height=0.6 + 0.28 * max(len(rows), 4))
    style.grid(ax, "x")
    style.title(ax, title)
    colours = [style.colour(5) if delay > 0 else style.colour(2) for delay in rows["delay_s"]]
    ax.barh(range(len(rows)), rows["delay_s"], color=colours)
    names = [
        f"{name} (pinned)" if pin else name for name, pin in zip(rows["model"], rows["pinned"], strict=True)
    ]
    ax.set_yticks(range(len(rows)), names)
    ax.axvline(0, color=style.QUIET, linewidth=1)
    ax.set_xlabel("Delay of all its requests, with the pin less without (s)")
    return ax


def importance_plot(importances: Mapping[str, float], title: str = "", ax: Axes | None = None) -> Axes:
    """How much each setting mattered in a search, in percent, the largest on top.

    Parameters
    ----------
    importances : mapping of str to float
        By dotted key, as of :meth:`~vramlab.experiments.tuning.Tuning.importances`.
    """
    ranked = sorted(importances.items(), key=lambda item: item[1])
    ax = style.axes(ax, height=1.4 + 0.34 * len(ranked))
    ax.barh(np.arange(len(ranked)), [100 * share for _, share in ranked], color=style.PALETTE[0], height=0.66)
    ax.set_yticks(np.arange(len(ranked)), [name for name, _ in ranked])
    ax.set_xlabel("Share of what decided about the best tenth of the trials (%)")
    style.grid(ax, "x")
    style.title(ax, title)
    return ax
