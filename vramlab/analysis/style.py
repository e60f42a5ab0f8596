"""One look for every plot: a colour-blind safe palette, quiet axes, and axis units that people read.

Colours are those of Okabe and Ito, "Color Universal Design" (2008), in an order whose neighbours also differ
in lightness; the continuous map is viridis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
INK, QUIET, OPTIMUM = "#222222", "#8A8A8A", "#D55E00"
MAP = "viridis"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_RC: dict[Any, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}

# Largest unit first; a span of at least three of a unit is shown in it.
_TIME_UNITS = ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))


def axes(ax: Axes | None, width: float = 7.0, height: float = 4.0) -> Axes:
    """Return `ax`, or the axes of a new figure (inches), dressed."""
    if ax is None:
        import matplotlib.pyplot as plt

        # before the context, whose end would undo it: a notebook would then show its first figure only
        plt.install_repl_displayhook()
        with plt.rc_context(_RC):
            _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(QUIET)
    ax.tick_params(colors=INK, length=3)
    ax.set_axisbelow(True)
    return ax


def title(ax: Axes, text: str, pad: float = 6.0) -> None:
    """Give `ax` a title, left and bold, so many points above it; an empty text leaves it alone."""
    if text:
        ax.set_title(text, loc="left", fontsize=11, fontweight="bold", color=INK, pad=pad)


def grid(ax: Axes, axis: str = "both") -> None:
    """Draw quiet grid lines behind the data."""
    ax.grid(True, axis=axis, color="#E4E4E4", linewidth=0.8)  # type: ignore[arg-type]


def legend(ax: Axes, outside: bool = False, **options: Any) -> None:
    """Draw a legend without a frame; `outside` puts it to the right of the axes."""
    if outside:
        options = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0, **options}
    ax.legend(**{"frameon": False, "fontsize": 9, **options})


def colour(index: int) -> str:
    """Return the palette colour of the `index`-th series."""
    return PALETTE[index % len(PALETTE)]


def time_unit(span_s: float) -> tuple[float, str]:
    """Return seconds per unit, and the unit's name, in which a span reads well."""
    for seconds, name in _TIME_UNITS:
        if span_s >= 3 * seconds:
            return seconds, name
    return _TIME_UNITS[-1]


def bytes_unit(most_bytes: float) -> tuple[float, str]:
    """Return bytes per unit, and the unit's name: MB (MiB, as in the files), or GB from ten of them on."""
    return (2.0**30, "GB") if most_bytes >= 10 * 2**30 else (2.0**20, "MB")
