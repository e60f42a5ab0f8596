"""The figures of a setting beside those of a pinned one, as a table in HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlab.analysis.figures import Figure, table
from vramlab.config.html import Cell, html_table

_FIRST, _WIDTH = 110, 72  # pixels


def figures_table(now: Mapping[str, Any], pinned: Mapping[str, Any] | None, timed: bool) -> str:
    """Return three rows: the setting as it stands, the pinned one, and what is between them.

    Parameters
    ----------
    now, pinned : mapping
        Figures as of a replay.
    timed : bool
        Whether `now` has latencies yet. Without them it comes from decide mode, where loads take no time.
    """
    columns = table("explorer")
    rows: list[list[str | Cell]] = [
        [Cell("this setting", "strong"), *(_text(now, column, timed) for column in columns)]
    ]
    if pinned is None:
        rows.append([Cell("pinned", "quiet"), *(Cell("–", "quiet") for _ in columns)])
        rows.append([Cell("difference", "quiet"), *(Cell("–", "quiet") for _ in columns)])
    else:
        rows.append(["pinned", *(_text(pinned, column, True) for column in columns)])
        rows.append(["difference", *(_difference(now, pinned, column, timed) for column in columns)])
    widths = (_FIRST, *(_WIDTH for _ in columns))
    return html_table(["", *(column.label for column in columns)], rows, widths=widths)


def _text(figures: Mapping[str, Any], column: Figure, timed: bool) -> Cell:
    value = figures.get(column.key)
    if value is None or (column.unit == "latency" and not timed):
        return Cell("…" if not timed else "–", "quiet")
    return Cell(column.text(value))


def _difference(now: Mapping[str, Any], pinned: Mapping[str, Any], column: Figure, timed: bool) -> Cell:
    new, old = now.get(column.key), pinned.get(column.key)
    if new is None or old is None or not timed:
        return Cell("…" if not timed else "–", "quiet")
    by = new - old
    text = column.text(abs(by))
    if text == column.text(0):
        return Cell("=", "quiet")
    if column.unit == "share":
        text = text.removesuffix(" %") + " pp"
    good = (by > 0) == (column.better == "higher")
    return Cell(f"{'+' if by > 0 else '−'}{text}", "good" if good else "bad")
