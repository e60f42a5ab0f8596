"""Results as small tables for notebooks; everything there is to know stands in their frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vramlab.analysis.metrics import binding_text
from vramlab.config.html import Cell, html_table
from vramlab.config.units import bytes_to_mib

_OUTCOMES = ("hits", "cold_starts", "waits", "fallbacks", "cache_hits", "refused", "failed", "cancelled")
_NOTHING = "–"


def replay_html(figures: Mapping[str, Any]) -> str:
    """Figures of one replay: rates and latencies for all and for each zone, outcomes below."""
    latency = _latency_in(figures)
    parts = [("all", figures), *figures.get("zones", {}).items()]
    rows: list[list[str | Cell]] = [
        [
            Cell(str(name), "strong" if name == "all" else ""),
            f"{part['requests']:,}",
            _share(part["hit_rate"]),
            _share(part["cold_start_rate"]),
            f"{part['evictions']:,}",
            _seconds(part["load_cost_s"]),
            *(latency(part[f"latency_p{rank}_s"]) for rank in (50, 95, 99)),
            f"{bytes_to_mib(part['vram_used_mean_bytes']):,.0f} MB",
        ]
        for name, part in parts
    ]
    header = ["zone", "requests", "hit rate", "cold starts", "evictions", "load cost"]
    header += ["p50", "p95", "p99", "VRAM, mean"]
    counts = [f"{figures[key]:,} {key.replace('_', ' ')}" for key in _OUTCOMES if figures.get(key)]
    caption = f"{figures.get('policy', '')}, {figures.get('backend', '')}"
    binding = binding_text(figures.get("binding", {}))
    counts += [f"binding: {binding}"] if binding else []
    return html_table(header, rows, caption, ", ".join(counts))


def comparison_html(
    rows: Sequence[Mapping[str, Any]], optimum_s: float, counts: str = "load_cost_s", warmup: int = 0
) -> str:
    """One row per policy, the best of each column in bold, and the bound below."""
    latency = _latency_in(rows[0])
    columns = [
        ("hit rate", "hit_rate", _share, max),
        ("cold starts", "cold_start_rate", _share, min),
        ("load cost", "load_cost_s", _seconds, min),
        ("gap closed", "gap_closed", _share, max),
        ("p50", "latency_p50_s", latency, min),
        ("p95", "latency_p95_s", latency, min),
        ("p99", "latency_p99_s", latency, min),
    ]
    best = {}
    for _, key, text, better in columns:
        known = [row[key] for row in rows if row.get(key) is not None]
        best[key] = text(better(known)) if known else None
    table = []
    for row in rows:
        cells: list[str | Cell] = [str(row["policy"])]
        for _, key, text, _ in columns:
            shown = text(row.get(key))
            cells.append(Cell(shown, "strong" if shown == best[key] != _NOTHING else ""))
        table.append(cells)
    what = "load cost" if counts == "load_cost_s" else counts
    notes = [f"offline optimum: {what} {_seconds(optimum_s)}"]
    bound = [row.get("binding", {}) for row in rows]
    limits = {name: max(limits.get(name, 0) for limits in bound) for limits in bound for name in limits}
    notes += [f"binding: {binding_text(limits)} at most"] if limits else []
    notes += [f"the first {warmup:,} requests do not count"] if warmup else []
    return html_table(["policy", *(name for name, *_ in columns)], table, note="; ".join(notes))


def _share(value: float | None) -> str:
    return _NOTHING if value is None else f"{100 * value:.2f} %"


def _seconds(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:,.1f} s"


def _latency_in(figures: Mapping[str, Any]) -> Callable[[float | None], str]:
    """How latencies are shown: in decide mode not, as nothing takes time there."""
    return (lambda value: _NOTHING) if figures.get("mode") == "decide" else _latency


def _latency(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return f"{1000 * value:,.1f} ms" if value < 10 else f"{value:,.1f} s"
