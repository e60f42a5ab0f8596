"""When a long run does badly: by weekday and hour, and in its bursts beside the rest.

One figure for a whole week is a mean over hours that have little in common. Tables first, then their plots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vramlab.analysis import style
from vramlab.analysis.density import slices, width_text
from vramlab.config.errors import InputError, check_choice
from vramlab.engine.outcomes import Outcome
from vramlab.runs.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DAY_S, _HOUR_S = 86_400.0, 3_600.0
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# Slices of a run among which bursts are looked for.
_LOOKED_AT = 400

_VALUES = {
    "requests": "Requests per hour",
    "hit_rate": "Hit rate (%)",
    "not_from_vram": "Requests not served from VRAM, per hour",
    "unserved": "Refused or failed, per hour",
    "latency_p95_s": "Latency, 95th percentile (s)",
}
_SHARES = {"hit_rate": 100.0}

_OUTCOMES = (
    ("from VRAM", (Outcome.HIT, Outcome.CACHE_HIT), style.PALETTE[0]),
    ("waited for a load", (Outcome.COLD_START, Outcome.WAIT), style.PALETTE[1]),
    ("on the CPU", (Outcome.FALLBACK,), style.PALETTE[3]),
    ("refused or failed", (Outcome.REFUSED, Outcome.FAILED, Outcome.CANCELLED), style.PALETTE[5]),
)


def weekday_hours(records: Records, week_offset_s: float | None = None) -> pd.DataFrame:
    """Figures of a run by day of the week and hour of the day.

    Parameters
    ----------
    records : Records
        Of a run of a day or more.
    week_offset_s : float, optional
        Seconds from Monday 00:00 to the run's time 0. Without it nobody knows: days and hours then count
        from the first request.

    Returns
    -------
    DataFrame
        Columns ``day`` (0 to 6), ``hour``, ``requests``, ``not_from_vram`` and ``unserved`` (per hour, over
        all such hours of the run), ``hit_rate``, ``latency_p95_s``.

    Raises
    ------
    InputError
        If the run is shorter than a day.
    """
    span = float(records.arrival_s[-1] - records.arrival_s[0])
    if span < _DAY_S:
        expected = "a run of a day at least, to tell its hours apart"
        raise InputError("plot", "weekday by hour", f"a run of {width_text(span)}", expected)
    shift = -float(records.arrival_s[0]) if week_offset_s is None else week_offset_s
    times = records.arrival_s + shift
    cell = (times // _HOUR_S).astype(int) % (7 * 24)
    # how much of each hour of the week the run has seen, in hours
    edges = np.arange(times[0] // _HOUR_S, times[-1] // _HOUR_S + 1)
    seen = np.minimum(edges * _HOUR_S + _HOUR_S, times[-1]) - np.maximum(edges * _HOUR_S, times[0])
    hours = np.bincount(edges.astype(int) % (7 * 24), seen / _HOUR_S, minlength=7 * 24)
    rows = pd.DataFrame(
        {
            "cell": cell,
            "hit": records.outcomes == Outcome.HIT,
            "reached": records.outcomes != Outcome.CACHE_HIT,
            "not_from_vram": ~np.isin(records.outcomes, _OUTCOMES[0][1]),
            "unserved": np.isin(records.outcomes, _OUTCOMES[-1][1]),
            "latency_s": records.latency_s,
        }
    )
    groups = rows.groupby("cell")
    table = groups[["hit", "reached", "not_from_vram", "unserved"]].sum()
    table["requests"] = groups.size()
    per = np.maximum(hours[table.index.to_numpy()], 1 / 60)  # an hour seen for seconds tells no rate
    for key in ("requests", "not_from_vram", "unserved"):
        table[key] = table[key] / per
    table["hit_rate"] = table["hit"] / table["reached"].where(table["reached"] > 0)
    table["latency_p95_s"] = groups["latency_s"].quantile(0.95)
    cells = table.index.to_numpy()
    table = table.assign(day=cells // 24, hour=cells % 24).reset_index(drop=True)
    return table[["day", "hour", *_VALUES]]


def weekday_map(
    records: Records,
    value: str = "not_from_vram",
    ax: Axes | None = None,
    week_offset_s: float | None = None,
    title: str = "",
) -> Axes:
    """Draw one figure of a run by weekday and hour.

    Parameters
    ----------
    value : str
        ``requests``, ``hit_rate``, ``not_from_vram``, ``unserved`` or ``latency_p95_s``.
    week_offset_s : float, optional
        As for :func:`weekday_hours`. Without it the rows are the days of the run, from its first request.
    """
    check_choice("plot", "value", value, tuple(_VALUES))
    table = weekday_hours(records, week_offset_s)
    cells = np.full((7, 24), np.nan)
    cells[table["day"], table["hour"]] = table[value] * _SHARES.get(value, 1.0)
    days = min(7, int(np.ceil((records.arrival_s[-1] - records.arrival_s[0]) / _DAY_S)))
    names = list(_WEEKDAYS) if week_offset_s is not None else [f"day {day + 1}" for day in range(days)]
    cells = cells[: len(names)]
    ax = style.axes(ax, width=9, height=1.2 + 0.34 * len(names))
    higher = value in ("requests", "hit_rate")
    # one burst would leave all other hours one colour
    usual, most = np.nanquantile(cells, 0.95), np.nanmax(cells)
    beyond = bool(most > 2 * usual > 0)
    image = ax.imshow(
        cells,
        aspect="auto",
        cmap=style.MAP if higher else f"{style.MAP}_r",
        vmax=usual if beyond else None,
    )
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02, fraction=0.05, extend="max" if beyond else "neither")
    more = f" (most {most:,.4g})" if beyond else ""
    bar.set_label(_VALUES[value].replace(", ", ",\n", 1) + more, fontsize=9)
    bar.outline.set_visible(False)
    ax.set_yticks(np.arange(len(names)), names)
    ax.set_xticks(np.arange(0, 24, 3), [f"{hour}:00" for hour in range(0, 24, 3)])
    ax.set_xlabel("Hour of the day" if week_offset_s is not None else "Hours since the first request")
    ax.spines[:].set_visible(False)
    style.title(ax, title)
    return ax


def bursts(records: Records, factor: float = 3.0) -> list[tuple[float, float]]:
    """Find when a run was asked for far more than it usually is.

    Parameters
    ----------
    factor : float
        So many times as many requests as in a busy slice of time: one that three of four are less busy than.

    Returns
    -------
    list of (float, float)
        First and last time of each in seconds, on the run's own clock; empty where there was none.
    """
    edges = slices(float(records.arrival_s[0]), float(records.arrival_s[-1]), _LOOKED_AT)
    counts = np.histogram(records.arrival_s, edges)[0]
    usual = np.quantile(counts[counts > 0], 0.75)
    busy = np.flatnonzero(counts > factor * max(float(usual), 1.0))
    groups = np.split(busy, np.flatnonzero(np.diff(busy) > 1) + 1) if busy.size else []
    return [(float(edges[group[0]]), float(edges[group[-1] + 1])) for group in groups]


def burst_table(records: Records, factor: float = 3.0) -> pd.DataFrame:
    """Figures of a run's bursts and of all the rest.

    Returns
    -------
    DataFrame
        Rows ``bursts`` and ``rest``: ``requests``, ``time_s``, one share per kind of outcome, and latencies
        ``latency_p50_s``, ``latency_p95_s``, ``latency_p99_s``. Without a burst only ``rest``.
    """
    times, found = records.arrival_s, bursts(records, factor)
    inside = np.zeros(len(records), dtype=bool)
    for first, last in found:
        inside |= (times >= first) & (times < last)
    length = sum(last - first for first, last in found)
    rows = {"bursts": _figures(records, inside, length)} if found else {}
    rows["rest"] = _figures(records, ~inside, float(times[-1] - times[0]) - length)
    return pd.DataFrame.from_dict(rows, orient="index")


def burst_plot(records: Records, ax: Axes | None = None, factor: float = 3.0, title: str = "") -> Axes:
    """Draw how requests ended in a run's bursts and in the rest, with latencies beside the bars."""
    table = burst_table(records, factor)
    ax = style.axes(ax, width=9, height=1.4 + 0.5 * len(table))
    places = np.arange(len(table))[::-1]
    left = np.zeros(len(table))
    for name, _, colour in _OUTCOMES:
        share = 100 * table[name].to_numpy()
        ax.barh(places, share, left=left, height=0.55, color=colour, label=name)
        left += share
    for place, (_, row) in zip(places, table.iterrows(), strict=True):
        ax.text(101, place, _in_words(row), va="center", fontsize=9, color=style.INK)
    ax.set_yticks(places, list(table.index))
    ax.set_xlim(0, 150)
    ax.set_xticks([0, 25, 50, 75, 100])
    ax.set_ylim(-0.6, len(table) - 0.4)
    what = f"a burst: more than {factor:g} times the requests of a busy stretch"
    none = "" if "bursts" in table.index else f"no burst ({what.removeprefix('a burst: ')})"
    ax.set_xlabel(f"Requests (%); {none or what}", loc="left")
    style.legend(ax, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(_OUTCOMES), borderaxespad=0.1)
    style.title(ax, title)
    return ax


def _figures(records: Records, inside: npt.NDArray[np.bool_], length_s: float) -> dict[str, Any]:
    outcomes, latency = records.outcomes[inside], records.latency_s[inside]
    count = max(len(outcomes), 1)
    row: dict[str, Any] = {"requests": len(outcomes), "time_s": length_s}
    row |= {name: float(np.isin(outcomes, kinds).sum()) / count for name, kinds, _ in _OUTCOMES}
    answered = latency[~np.isnan(latency)]
    for rank in (50, 95, 99):
        row[f"latency_p{rank}_s"] = float(np.percentile(answered, rank)) if answered.size else np.nan
    return row


def _in_words(row: pd.Series) -> str:
    latencies = ", ".join(f"p{rank} {_seconds(row[f'latency_p{rank}_s'])}" for rank in (50, 95, 99))
    return f"{row['requests']:,.0f} requests in {width_text(row['time_s'])}\n{latencies}"


def _seconds(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{1000 * value:,.0f} ms" if value < 1 else f"{value:,.1f} s"
