"""Where the models lie in their zones at one moment: as a picture, and as figures per zone.

A layout is a frame with one row per extent, in the order of zones and offsets: ``zone``, ``model`` (None for
a hole), ``offset_bytes``, ``size_bytes``, and, where it is known, ``state`` (``loading`` or ``evicting``;
anything else is there to be used).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from vramlab.analysis import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DARK = (style.PALETTE[0], style.PALETTE[2], style.PALETTE[5])


def memory_map(
    extents: pd.DataFrame, ax: Axes | None = None, title: str = "", models: Sequence[str] | None = None
) -> Axes:
    """Draw where the models lie: one bar per zone, one block per extent, holes left white.

    What is loading is pale; what is leaving is struck through.

    Parameters
    ----------
    extents : DataFrame
        A layout, as in the module's description.
    models : sequence of str, optional
        Models in the order of their colours, so that a model keeps its colour from map to map; by default
        those of the layout.
    """
    from matplotlib.patches import Rectangle

    zones = list(dict.fromkeys(extents["zone"]))
    order = list(models or dict.fromkeys(extents["model"].dropna()))
    widest = float((extents["offset_bytes"] + extents["size_bytes"]).max())
    unit, unit_name = style.bytes_unit(widest)
    ax = style.axes(ax, width=9, height=1.2 + 0.6 * len(zones))
    row: Any  # named after the frame's columns, which pandas' types cannot know
    for row in extents.itertuples():
        y = len(zones) - 1 - zones.index(row.zone)
        left, width = row.offset_bytes / unit, row.size_bytes / unit
        hole = not isinstance(row.model, str)
        colour = "white" if hole else style.colour(order.index(row.model))
        state = getattr(row, "state", None)
        look: dict[str, Any] = {"facecolor": colour, "edgecolor": "white", "linewidth": 0.8}
        if hole:
            look |= {"edgecolor": style.QUIET, "hatch": "////"}
        elif state == "loading":
            look |= {"alpha": 0.4}
        elif state == "evicting":
            look |= {"hatch": "xxx", "edgecolor": style.OPTIMUM, "alpha": 0.55}
        ax.add_patch(Rectangle((left, y - 0.35), width, 0.7, **look))
        text = _label(row.model, state, 1 / 0.011 * width * unit / widest)
        if text:
            plain = hole or state in ("loading", "evicting")
            ax.text(left + width / 2, y, text, ha="center", va="center", fontsize=8,
                    color="white" if colour in _DARK and not plain else style.INK,
                    bbox={"color": "white", "pad": 1, "alpha": 0.8} if plain else None)  # fmt: skip
    ax.set_yticks(range(len(zones) - 1, -1, -1), zones)
    ax.set_ylim(-0.6, len(zones) - 0.4)
    ax.set_xlim(0, widest / unit)
    ax.set_xlabel(f"Offset in the zone ({unit_name})")
    style.title(ax, title)
    return ax


def _label(model: object, state: str | None, most: float) -> str:
    """Return the longest text for a block that has at most so many letters; empty if there is none."""
    if not isinstance(model, str):
        texts = ["free"]
    elif state in ("loading", "evicting"):
        texts = [f"{model} ({state})", f"{model.removesuffix('.onnx')} ({state})", state]
    else:
        texts = [model, model.removesuffix(".onnx")]
    return next((text for text in texts if len(text) < most), "")


def zones_of(extents: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return used and free bytes, the largest hole and the fragmentation of each zone.

    Fragmentation is ``1 - largest hole / all that is free``, 0 where nothing is free.
    """
    zones: dict[str, dict[str, Any]] = {}
    for name, rows in extents.groupby("zone", sort=False):
        holes = rows.loc[rows["model"].isna(), "size_bytes"]
        free, largest = int(holes.sum()), int(holes.max()) if len(holes) else 0
        zones[str(name)] = {
            "used_bytes": int(rows["size_bytes"].sum()) - free,
            "free_bytes": free,
            "largest_hole_bytes": largest,
            "fragmentation": 1 - largest / free if free else 0.0,
        }
    return zones
