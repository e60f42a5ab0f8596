"""The figures of a setting beside those of a pinned one, as a table in HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vramlab.config.html import Cell, html_table


class _Column(NamedTuple):
    key: str
    name: str
    kind: str  # "share", "count", "cost" or "latency"
    higher_is_better: bool = False


_COLUMNS = (
    _Column("hit_rate", "hit rate", "share", True),
    _Column("cold_start_rate", "cold starts", "share"),
    _Column("load_cost_s", "load cost", "cost"),
    _Column("evictions", "evictions", "count"),
    _Column("refused", "refused", "count"),
    _Column("latency_p50_s", "p50", "latency"),
    _Column("latency_p95_s", "p95", "latency"),
    _Column("latency_p99_s", "p99", "latency"),
)

_WIDTHS = (110, *(72 for _ in _COLUMNS))


def figures_table(now: Mapping[str, Any], pinned: Mapping[str, Any] | None, timed: bool) -> str:
    """Three rows: the setting as it stands, the pinned one, and what is between them.

    Parameters
    ----------
    now, pinned : mapping
        Figures as of a replay.
    timed : bool
        Whether `now` has latencies yet. Without them it comes from decide mode, where loads take no time.
    """
    rows: list[list[str | Cell]] = [
        [Cell("this setting", "strong"), *(_text(now, column, timed) for column in _COLUMNS)]
    ]
    if pinned is None:
        rows.append([Cell("pinned", "quiet"), *(Cell("–", "quiet") for _ in _COLUMNS)])
        rows.append([Cell("difference", "quiet"), *(Cell("–", "quiet") for _ in _COLUMNS)])
    else:
        rows.append(["pinned", *(_text(pinned, column, True) for column in _COLUMNS)])
        rows.append(["difference", *(_difference(now, pinned, column, timed) for column in _COLUMNS)])
    return html_table(["", *(column.name for column in _COLUMNS)], rows, widths=_WIDTHS)


def _text(figures: Mapping[str, Any], column: _Column, timed: bool) -> Cell:
    value = figures.get(column.key)
    if value is None or (column.kind == "latency" and not timed):
        return Cell("…" if not timed else "–", "quiet")
    return Cell(_number(value, column.kind))


def _difference(now: Mapping[str, Any], pinned: Mapping[str, Any], column: _Column, timed: bool) -> Cell:
    new, old = now.get(column.key), pinned.get(column.key)
    if new is None or old is None or not timed:
        return Cell("…" if not timed else "–", "quiet")
    by = new - old
    text = _number(abs(by), column.kind)
    if text == _number(0, column.kind):
        return Cell("=", "quiet")
    if column.kind == "share":
        text = text.removesuffix(" %") + " pp"
    return Cell(f"{'+' if by > 0 else '−'}{text}", "good" if (by > 0) == column.higher_is_better else "bad")


def _number(value: float, kind: str) -> str:
    if kind == "share":
        return f"{100 * value:.2f} %"
    if kind == "count":
        return f"{value:,.0f}"
    if kind == "cost":
        return f"{value:,.1f} s"
    milliseconds = 1000 * value
    return f"{milliseconds:,.1f} ms" if milliseconds < 10_000 else f"{value:,.1f} s"
