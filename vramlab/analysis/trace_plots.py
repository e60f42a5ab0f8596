"""One figure of what a trace is like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vramlab.analysis import style
from vramlab.traces.describe import Description

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_description(description: Description, twin: Description | None = None) -> Figure:
    """Draw rate and working set over time, popularity, reuse, and the cycle of the day.

    Parameters
    ----------
    description : Description
        Of the trace.
    twin : Description, optional
        Of a generated twin, drawn dashed beside it.

    Returns
    -------
    matplotlib.figure.Figure
        Not known to pyplot: show it by returning it from a notebook's cell, or ``savefig``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axes = figure.subplots(2, 2)
    described = [(description, "-", "trace")]
    if twin is not None:
        described.append((twin, "--", "twin"))
    for one, line, label in described:
        _over_time(axes[0, 0], one, line, label)
        _popularity(axes[0, 1], one, line, label)
        _reuse(axes[1, 0], one, line, label)
        _day(axes[1, 1], one, line, label)
    _name(axes[0, 0], "Requests and models asked for, over time", "hours", "per part of the time")
    _name(axes[0, 1], "Popularity", "rank of the model", "share of the requests")
    _name(axes[1, 0], "Reuse: hit rate of an LRU", "models of one size that fit", "hit rate")
    _name(axes[1, 1], "Cycle of the day", "hours since the first request, within the day", "rate over mean")
    axes[0, 0].set_yscale("symlog")
    axes[0, 1].set_xscale("log")
    axes[0, 1].set_yscale("log")
    axes[1, 0].set_ylim(0, 1)
    axes[1, 0].set_xscale("log")
    name = Path(description.source).name
    figure.suptitle(f"{name}: {description.requests:,} requests, {description.models:,} models")
    return figure


def _over_time(axes: Axes, one: Description, line: str, label: str) -> None:
    hours = (one.working_set_s - one.working_set_s[0]) / 3600
    axes.step(
        hours,
        one.working_set_requests,
        line,
        color=style.PALETTE[0],
        where="post",
        label=f"requests, {label}",
    )
    axes.step(hours, one.working_set, line, color=style.PALETTE[1], where="post", label=f"models, {label}")


def _popularity(axes: Axes, one: Description, line: str, label: str) -> None:
    shares = np.array(list(one.model_shares.values()))
    ranks = np.arange(1, len(shares) + 1)
    axes.plot(ranks, shares, line, color=style.PALETTE[0], label=label)
    law = ranks.astype(float) ** -one.zipf_exponent
    axes.plot(ranks, law / law.sum(), ":", color=style.QUIET, label=f"Zipf {one.zipf_exponent:.2f}, {label}")


def _reuse(axes: Axes, one: Description, line: str, label: str) -> None:
    axes.plot(np.arange(1, one.models + 1), one.lru_hit_rates, line, color=style.PALETTE[0], label=label)


def _day(axes: Axes, one: Description, line: str, label: str) -> None:
    if np.isnan(one.daily).all():
        axes.text(0.5, 0.5, "under two days", ha="center", transform=axes.transAxes)
    else:
        axes.step(
            np.arange(len(one.daily)), one.daily, line, color=style.PALETTE[0], where="post", label=label
        )


def _name(axes: Axes, title: str, x: str, y: str) -> None:
    style.axes(axes)
    style.title(axes, title)
    style.grid(axes)
    axes.set(xlabel=x, ylabel=y)
    if axes.get_legend_handles_labels()[0]:
        style.legend(axes)
