"""Plots of predicted differences: of one recording's alternatives, and beside what came of them live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vramlab.analysis import columns, style
from vramlab.analysis.figures import FIGURES
from vramlab.analysis.plots import latency_distribution
from vramlab.analysis.shifts import KEYS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def differences_plot(frame: pd.DataFrame, recorded: Mapping[str, Any], title: str = "") -> Figure:
    """Draw each alternative's differences from the recording with their intervals, a panel per figure.

    Parameters
    ----------
    frame : DataFrame
        Columns ``alternative`` and, per figure, ``KEY_difference``, ``KEY_low``, ``KEY_high``.
    recorded : mapping of str to float
        Figures of the recording, which latencies are relative to.
    """
    columns.need(frame, "alternative")
    import matplotlib.pyplot as plt

    places = np.arange(len(frame))[::-1]
    size = (13.0, 1.7 + 0.42 * len(frame))
    figure, panels = plt.subplots(1, len(KEYS), figsize=size, sharey=True, layout="constrained")
    for key, ax in zip(KEYS, panels, strict=True):
        style.axes(ax)
        scale = 100.0 if key == "hit_rate" else 100.0 / (recorded[key] or np.nan)
        middle, low, high = (
            frame[f"{key}_{end}"].to_numpy(float) * scale for end in ("difference", "low", "high")
        )
        told = (low > 0) | (high < 0)
        better = (middle > 0) == (FIGURES[key].better == "higher")
        for place, at, ends, is_told, is_better in zip(
            places, middle, zip(low, high, strict=True), told, better, strict=True
        ):
            colour = style.QUIET if not is_told else style.colour(0 if is_better else 5)
            ax.plot(ends, [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            ax.plot([at], [place], marker="o", markersize=6, color=colour)
        ax.axvline(0, color=style.INK, linewidth=1)
        label = FIGURES[key].name or FIGURES[key].label
        ax.set_xlabel(f"{label} ({'points' if key == 'hit_rate' else '%'})")
        style.grid(ax, "x")
    panels[0].set_yticks(places, frame["alternative"].astype(str))
    panels[0].set_ylim(-0.6, len(frame) - 0.4)
    if title:
        text = f"{title}\nblue: better, orange: worse, grey: no difference that can be told (95 %)"
        figure.suptitle(text, x=0.01, ha="left", fontsize=11, color=style.INK)
    return figure


def settings_plot(latencies_s: Mapping[str, Mapping[str, Any]], title: str = "") -> Figure:
    """Draw the latencies of each setting, live and simulated, a panel per setting.

    Parameters
    ----------
    latencies_s : mapping of str to mapping of str to ndarray
        Seconds by setting, and by what a line is called.
    """
    import matplotlib.pyplot as plt

    wide = min(2, len(latencies_s))
    high = -(-len(latencies_s) // wide)
    size = (6.5 * wide, 3.8 * high + 0.3)
    figure, panels = plt.subplots(high, wide, figsize=size, squeeze=False, layout="constrained")
    for ax, (setting, lines) in zip(panels.flat, latencies_s.items(), strict=False):
        latency_distribution(lines, style.axes(ax), setting)
    for ax in panels.flat[len(latencies_s) :]:
        ax.set_visible(False)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=style.INK)
    return figure


def real_and_predicted(pairs: pd.DataFrame, title: str = "") -> Figure:
    """Draw predicted over real differences, a panel per figure; hollow where no difference repeats.

    Parameters
    ----------
    pairs : DataFrame
        Columns ``workload``, ``figure``, ``real``, ``predicted``, ``spread``, ``repeats``; shares.
    """
    columns.need(pairs, "workload", "figure", "real", "predicted", "spread", "repeats")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(KEYS), figsize=(16.0, 4.2), layout="constrained")
    workloads = list(dict.fromkeys(pairs["workload"]))
    for key, ax in zip(KEYS, panels, strict=True):
        style.axes(ax)
        its = pairs[pairs.figure == key]
        most = 110 * float(np.nanmax(np.abs(its[["real", "predicted"]].to_numpy(float)), initial=1e-3))
        line = np.array([-most, most])
        ax.fill_between(line, line * 2 / 3, line * 4 / 3, color=style.QUIET, alpha=0.15, linewidth=0)
        ax.plot(line, line, color=style.QUIET, linewidth=1)
        for index, workload in enumerate(workloads):
            own = its[its.workload == workload]
            filled = [style.colour(index) if repeats is True else "none" for repeats in own.repeats]
            ax.scatter(
                100 * own.real, 100 * own.predicted, s=34, marker=style.MARKERS[index % 8], facecolors=filled,
                edgecolors=style.colour(index), label=str(workload),
            )  # fmt: skip
        ax.axhline(0, color=style.INK, linewidth=0.6)
        ax.axvline(0, color=style.INK, linewidth=0.6)
        ax.set(xlim=(-most, most), ylim=(-most, most), aspect="equal")
        unit = "points" if key == "hit_rate" else "%"
        ax.set_xlabel(f"real ({unit})")
        style.title(ax, FIGURES[key].name or FIGURES[key].label)
        style.grid(ax)
    panels[0].set_ylabel("predicted")
    style.legend(panels[-1], outside=True)
    if title:
        text = f"{title}\nhollow: no difference that repeats; grey: within a third"
        figure.suptitle(text, x=0.01, ha="left", fontsize=11, color=style.INK)
    return figure
