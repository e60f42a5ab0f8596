"""Timelines of long runs: how much of each slice of time a model was in VRAM, and how often it was asked for.

Bars and marks tell one stay from the next up to a few hundred of them. Beyond that they are a bar code, and
a model that comes and goes looks like one that stays. What is drawn here says how much of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vramlab.analysis import style
from vramlab.engine.outcomes import Outcome
from vramlab.runs.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SLICES = 125
# Widths of a slice in seconds that people can name.
_WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
_FROM_VRAM = (Outcome.HIT, Outcome.CACHE_HIT)
_STRIP = 0.44  # of a row's height; what is below it are the requests

Floats = npt.NDArray[np.float64]


def slices(start_s: float, end_s: float, most: int = _SLICES) -> Floats:
    """Edges of at most `most` slices between two times, each of a width that people can name.

    Returns
    -------
    ndarray, shape (slices + 1,)
        Seconds, from `start_s` to `end_s` or a part of a slice beyond it.
    """
    span = max(end_s - start_s, 1e-9)
    width = next((width for width in _WIDTHS_S if span / width <= most), span / most)
    if span < _WIDTHS_S[0] * most / 10:  # a run of half a minute
        width = span / most
    count = max(int(np.ceil(span / width - 1e-9)), 1)
    edges: Floats = start_s + width * np.arange(count + 1, dtype=np.float64)
    return edges


def time_in_vram(from_s: Floats, to_s: Floats, edges_s: Floats) -> Floats:
    """Share of each slice during which a model was resident.

    Parameters
    ----------
    from_s, to_s : ndarray, shape (stays,)
        Of its stays, in the order of time; they do not overlap.
    edges_s : ndarray, shape (slices + 1,)
        Of the slices.

    Returns
    -------
    ndarray, shape (slices,)
        0 to 1.
    """
    if not from_s.size:
        return np.zeros(len(edges_s) - 1)
    knots = np.column_stack([from_s, to_s]).ravel()
    held = np.zeros(len(knots))
    held[1::2] = to_s - from_s
    share: Floats = np.diff(np.interp(edges_s, knots, np.cumsum(held))) / np.diff(edges_s)
    return np.clip(share, 0.0, 1.0)


def draw_density(
    ax: Axes,
    records: Records,
    rows: Mapping[str, int],
    stays: Sequence[Any],
    edges_s: Floats,
    unit: tuple[float, float],
) -> list[Any]:
    """Draw one strip per model, and below it how often it was asked for.

    Parameters
    ----------
    rows : mapping of str to int
        Where each model stands.
    stays : sequence of Stay
        Those of the models in `rows`.
    edges_s : ndarray
        Of the slices.
    unit : (float, float)
        The time in seconds that is 0 on the axis, and the seconds of its unit.

    Returns
    -------
    list
        What the legend is to show.
    """
    from matplotlib.patches import Patch

    zones = {zone: style.colour(index) for index, zone in enumerate(records.zone_names)}
    at, used = (edges_s - unit[0]) / unit[1], set()
    for name, row in rows.items():
        own = [stay for stay in stays if stay.model == name]
        for zone in dict.fromkeys(stay.zone for stay in own):
            used.add(zone)
            spans = np.array([(stay.from_s, stay.to_s) for stay in own if stay.zone == zone])
            _strip(ax, time_in_vram(spans[:, 0], spans[:, 1], edges_s), at, row, zones.get(zone, style.QUIET))
        ax.axhline(row - 0.5, color=style.QUIET, linewidth=0.4)
    most = _requests(ax, records, rows, edges_s, at)
    width = width_text(float(edges_s[1] - edges_s[0]))
    marks = [Patch(color=zones[zone], label=f"in {zone}") for zone in zones if zone in used]
    marks.append(Patch(color=style.QUIET, alpha=0.4, label="pale: part of the time"))
    marks.append(Patch(color="#6E6E6E", label=f"requests in {width} (at most {most:,})"))
    marks.append(Patch(color=style.OPTIMUM, label="not from VRAM"))
    return marks


def width_text(seconds: float) -> str:
    """A slice's width in words: ``30 min``."""
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{1000 * seconds:.3g} ms"


def _strip(ax: Axes, share: Floats, at: Floats, row: int, colour: str) -> None:
    from matplotlib.colors import to_rgb

    cells = np.empty((1, len(share), 4))
    cells[..., :3] = to_rgb(colour)
    cells[..., 3] = share
    ax.imshow(
        cells, extent=(at[0], at[-1], row - 0.02, row - 0.02 + _STRIP),
        aspect="auto", interpolation="nearest",
    )  # fmt: skip


def _requests(ax: Axes, records: Records, rows: Mapping[str, int], edges_s: Floats, at: Floats) -> int:
    """Requests per slice, upwards from a row's foot; those not served from VRAM in front, on one scale."""
    missed = ~np.isin(records.outcomes, _FROM_VRAM)
    counts = {}
    for name in rows:
        own = records.model_codes == records.model_names.index(name)
        counts[name] = [np.histogram(records.arrival_s[own & which], edges_s)[0] for which in (True, missed)]
    most = max(int(every.max()) for every, _ in counts.values())
    # the square root, or a model that is asked for once would not be seen beside one with a thousand
    scale = 0.42 / np.sqrt(max(most, 1))
    for name, row in rows.items():
        foot = row - 0.46
        for numbers, colour in zip(counts[name], ("#6E6E6E", style.OPTIMUM), strict=True):
            tops = foot + scale * np.sqrt(np.append(numbers, 0))
            ax.fill_between(at, foot, tops, step="post", color=colour, linewidth=0)
    return most
