"""One figure of what a trace is like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vramlab.analysis import style
from vramlab.traces.describe import Description

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
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
    seconds, unit = style.time_unit(float(np.ptp(description.working_set_s)))
    described = [(description, "-", "trace")]
    if twin is not None:
        described.append((twin, "--", "twin"))
    for one, line, label in described:
        _over_time(axes[0, 0], one, line, label, seconds)
        _popularity(axes[0, 1], one, line, label)
        _reuse(axes[1, 0], one, line, label)
        _day(axes[1, 1], one, line, label)
    width = np.diff(description.working_set_s[:2]).sum() / seconds
    _name(
        axes[0, 0],
        "Requests and models asked for, over time",
        f"Time ({unit})",
        f"In each {width:.2g} {unit}",
    )
    _name(axes[0, 1], "Popularity", "Rank of the model", "Requests (% of all)")
    _name(axes[1, 0], "Reuse: hit rate of an LRU", "Models of one size that fit", "Hit rate (%)")
    _name(
        axes[1, 1], "Cycle of the day", "Time since the first request, within the day (h)", "Rate over mean"
    )
    axes[0, 0].set_yscale("symlog")
    axes[0, 1].set_xscale("log")
    axes[0, 1].set_yscale("log")
    axes[1, 0].set_ylim(0, 100)
    axes[1, 0].set_xscale("log")
    for axis in (axes[0, 0].yaxis, axes[0, 1].xaxis, axes[0, 1].yaxis, axes[1, 0].xaxis):
        _plain_numbers(axis)
    name = Path(description.source).name
    figure.suptitle(f"{name}: {description.requests:,} requests, {description.models:,} models")
    return figure


def _plain_numbers(axis: Axis) -> None:
    """Write 1, 2, 5, 10 along a logarithmic axis, in place of powers."""
    from matplotlib.ticker import LogLocator, NullFormatter, SymmetricalLogLocator

    numbers = (1.0, 2.0, 5.0)
    logarithmic = axis.get_scale() == "log"
    axis.set_major_locator(
        LogLocator(subs=numbers) if logarithmic else SymmetricalLogLocator(base=10, linthresh=2, subs=numbers)
    )
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.set_minor_formatter(NullFormatter())


def _over_time(axes: Axes, one: Description, line: str, label: str, seconds: float) -> None:
    time = (one.working_set_s - one.working_set_s[0]) / seconds
    asked = (("requests", one.working_set_requests), ("models", one.working_set))
    for colour, (what, numbers) in zip(style.PALETTE, asked, strict=False):
        axes.step(time, numbers, line, color=colour, where="post", label=f"{what}, {label}")


def _popularity(axes: Axes, one: Description, line: str, label: str) -> None:
    shares = np.array(list(one.model_shares.values()))
    ranks = np.arange(1, len(shares) + 1)
    axes.plot(ranks, 100 * shares, line, color=style.PALETTE[0], label=label)
    law = ranks.astype(float) ** -one.zipf_exponent
    axes.plot(
        ranks, 100 * law / law.sum(), ":", color=style.QUIET, label=f"Zipf {one.zipf_exponent:.2f}, {label}"
    )


def _reuse(axes: Axes, one: Description, line: str, label: str) -> None:
    rates = 100 * np.asarray(one.lru_hit_rates)
    axes.plot(np.arange(1, one.models + 1), rates, line, color=style.PALETTE[0], label=label)


def _day(axes: Axes, one: Description, line: str, label: str) -> None:
    if np.isnan(one.daily).all():
        axes.text(0.5, 0.5, f"{label}: shorter than two days", ha="center", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
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
