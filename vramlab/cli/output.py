"""What commands print: one JSON document, or tables for people; all else goes to standard error."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from vramlab.analysis.figures import text_of
from vramlab.analysis.metrics import binding_text
from vramlab.config.files import check_suffix, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A table that is piped into a file is not cut to the width of a terminal that is not there. Names are
# the user's: `[red]` and `:cat:` in them are neither colours nor pictures.
_PLAINLY: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
out = Console(soft_wrap=True, **_PLAINLY)
log = Console(stderr=True, soft_wrap=True, **_PLAINLY)

SIDES = 3
"""What a column takes beside its text: a line, and a space on either side."""


def print_json(document: Any) -> None:
    """Print one JSON document; what is not a finite number is null."""
    print(json.dumps(_plain(document), indent=2))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]], console: Console = out
) -> None:
    """Print a table: the first column to the left, figures to the right.

    Nothing is cut where the terminal is narrow: headings take several lines, and columns that find no room
    come below, with the first one again.
    """
    if not console.is_terminal:
        console = Console(file=console.file, width=max(console.width, 200), **_PLAINLY)
    rows, header = list(rows), list(header)
    widths = [max((cell_len(row[place]) for row in rows), default=0) for place in range(len(header))]
    parts = _side_by_side(header, widths, console.width)
    if len(parts) > 1:
        header = [stacked(name, width) for name, width in zip(header, widths, strict=True)]
        parts = _side_by_side(header, widths, console.width)
    for number, places in enumerate(parts):
        table = Table(
            title=None if number else title, title_justify="left", title_style="bold",
            header_style="bold", show_header=any(header),
        )  # fmt: skip
        for place in places:
            table.add_column(header[place], justify="left" if place == 0 else "right", overflow="fold")
        for row in rows:
            table.add_row(*(row[place] for place in places))
        console.print(table)


def print_binding(figures: Mapping[str, Any]) -> None:
    """Print which limits a run has reached."""
    out.print(f"binding: {binding_text(figures['binding']) or 'no limit was reached'}")


def stacked(heading: str, width: int) -> str:
    """Break a heading into lines no wider than its column, or than its longest word.

    Dotted keys are broken too, after a dot or an underscore.
    """
    words = re.sub(r"(?<=[._])(?=\w)", " ", heading)
    lines = textwrap.wrap(words, max(width, 1), break_long_words=False)
    return "\n".join(re.sub(r"(?<=[._]) ", "", line) for line in lines)


def _side_by_side(header: Sequence[str], widths: Sequence[int], room: int) -> list[list[int]]:
    """Return the columns that fit beside each other, the first of all in every part."""
    taken = [
        SIDES + max(width, *map(cell_len, name.split("\n")))
        for name, width in zip(header, widths, strict=True)
    ]
    parts = [[0]]
    for place in range(1, len(header)):
        if len(parts[-1]) > 1 and sum(taken[there] for there in [*parts[-1], place]) + 1 > room:
            parts.append([0])
        parts[-1].append(place)
    return parts


def picture(path: Path | None) -> Path | None:
    """Refuse a file that is no picture, before anything has been computed for it.

    Raises
    ------
    InputError
        If the suffix is none of a picture.
    """
    if path is not None:
        from matplotlib.backend_bases import FigureCanvasBase

        known = sorted(FigureCanvasBase.get_supported_filetypes())
        check_suffix(path, tuple(f".{suffix}" for suffix in known))
    return path


def save_plot(plot: Axes | Figure, path: Path) -> None:
    """Write a figure, or the one that some axes are on; the format is that of the suffix."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    # of axes on a part of a figure too; get_figure(root=True) is of matplotlib 3.10
    figure = plot if isinstance(plot, Figure) else plot.figure.figure
    assert figure is not None
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)


def percent(value: float | None) -> str:
    """Write a share, for people."""
    return text_of(value, "share")


def milliseconds(value_s: float | None) -> str:
    """Write a short duration, for people."""
    return text_of(value_s, "latency")


def seconds(value_s: float | None) -> str:
    """Write a long duration, for people."""
    return text_of(value_s, "seconds")


def mebibytes(value_bytes: float | None) -> str:
    """Write a size, for people."""
    return text_of(value_bytes, "bytes")


def count(value: int | None) -> str:
    """Write a number of things, for people."""
    return text_of(value, "count")


def show_losses(figures: dict[str, Any], most: int = 10) -> None:
    """Print which models' requests were refused or failed, and why; nothing where none was."""
    losses = figures["losses"]
    rows = [(loss["model"], loss["outcome"], count(loss["requests"]), loss["why"]) for loss in losses[:most]]
    if rows:
        more = f", {most} of {len(losses)}" if len(losses) > most else ""
        print_table(f"requests without an answer{more}", ["model", "", "requests", "why (the first)"], rows)
