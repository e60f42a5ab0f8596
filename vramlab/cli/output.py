"""What commands print: one JSON document, or tables for people; all else goes to standard error."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from vramlab.config.errors import InputError
from vramlab.config.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A table that is piped into a file is not cut to the width of a terminal that is not there.
out = Console(highlight=False, soft_wrap=True)
log = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


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
    """Print a table: the first column to the left, figures to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for place, column in enumerate(header):
        table.add_column(column, justify="left" if place == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    if not console.is_terminal:
        console = Console(file=console.file, highlight=False, width=max(console.width, 200))
    console.print(table)


def save_plot(plot: Axes | Figure, path: Path) -> None:
    """Write a figure, or the one that some axes are on; the format is that of the suffix.

    Raises
    ------
    InputError
        If the suffix is none of a picture.
    """
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    # of axes on a part of a figure too; get_figure(root=True) is of matplotlib 3.10
    figure = plot if isinstance(plot, Figure) else plot.figure.figure
    assert figure is not None
    known = figure.canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise InputError(path, "", f"suffix {path.suffix!r}", f"one of .{', .'.join(sorted(known))}")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)


def percent(value: float | None) -> str:
    """A share, for people."""
    return "-" if value is None else f"{100 * value:.2f} %"


def milliseconds(value_s: float | None) -> str:
    """A duration, for people."""
    if value_s is None:
        return "-"
    return f"{1000 * value_s:,.1f} ms" if value_s < 10 else f"{value_s:,.1f} s"


def seconds(value_s: float | None) -> str:
    """A long duration, for people."""
    return "-" if value_s is None else f"{value_s:,.1f} s"


def mebibytes(value_bytes: float | None) -> str:
    """A size, for people."""
    return "-" if value_bytes is None else f"{value_bytes / 2**20:,.0f} MB"


def count(value: int | None) -> str:
    """A number of things, for people."""
    return "-" if value is None else f"{value:,}"
