"""Small tables in HTML, for notebooks: escaped, compact, names to the left, figures to the right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

# Colours that stand on light and on dark pages.
_TONES = {
    "": "",
    "good": "color:#009E73",
    "bad": "color:#D55E00",
    "quiet": "color:#8A8A8A",
    "strong": "font-weight:bold",
}

_TABLE = (
    "border-collapse:collapse;font-size:13px;line-height:1.35;margin:2px 0;font-variant-numeric:tabular-nums"
)
_CELL = "padding:2px 12px 2px 0;border:none;white-space:nowrap"
_RULE = "border-bottom:1px solid #8A8A8A"


class Cell(NamedTuple):
    """Text of a cell with its tone: ``good``, ``bad``, ``quiet`` or ``strong``."""

    text: str
    tone: str = ""


def html_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    caption: str = "",
    note: str = "",
    left: int = 1,
    widths: Sequence[int] = (),
) -> str:
    """Return a table as HTML.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    rows : iterable of sequences of str or Cell
        Texts; they are escaped here.
    caption, note : str
        Lines above and below.
    left : int
        So many columns are set to the left, the rest to the right.
    widths : sequence of int
        Least widths of the columns in pixels, so that a table which is redrawn keeps its shape.
    """

    def row(cells: Sequence[str | Cell], tag: str, style: str) -> str:
        made = []
        for place, cell in enumerate(cells):
            text, tone = cell if isinstance(cell, Cell) else (str(cell), "")
            width = f";min-width:{widths[place]}px" if place < len(widths) else ""
            align = "left" if place < left else "right"
            own = f"{_CELL};text-align:{align}{width};{style};{_TONES[tone]}"
            made.append(f'<{tag} style="{own}">{escape(text)}</{tag}>')
        return f"<tr style='background:none'>{''.join(made)}</tr>"

    head = row(header, "th", f"font-weight:bold;{_RULE}")
    body = "".join(row(cells, "td", "") for cells in rows)
    above = f"<div style='font-weight:bold'>{escape(caption)}</div>" if caption else ""
    below = f"<div style='font-size:12px;color:#8A8A8A'>{escape(note)}</div>" if note else ""
    table = f"<table style='{_TABLE}'><thead>{head}</thead><tbody>{body}</tbody></table>"
    return f"<div>{above}{table}{below}</div>"
