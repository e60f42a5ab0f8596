"""Results as small tables for notebooks; everything there is to know stands in their frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vramlab.analysis.figures import FIGURES, Figure, table, text_of
from vramlab.analysis.metrics import binding_text
from vramlab.config.html import Cell, html_table

_REPLAY = (
    "requests", "hit_rate", "cold_start_rate", "evictions", "load_cost_s", "latency_p50_s", "latency_p95_s",
    "latency_p99_s", "vram_used_mean_bytes",
)  # fmt: skip
_OUTCOMES = ("hits", "cold_starts", "waits", "fallbacks", "cache_hits", "refused", "failed", "cancelled")
_NOTHING = "–"


def replay_html(figures: Mapping[str, Any]) -> str:
    """Return the figures of one replay: rates and latencies for all and for each zone, outcomes below."""
    columns, mode = [FIGURES[key] for key in _REPLAY], figures.get("mode")
    rows: list[list[str | Cell]] = [
        [
            Cell(str(name), "strong" if name == "all" else ""),
            *(figure.text(part[figure.key], mode, _NOTHING) for figure in columns),
        ]
        for name, part in [("all", figures), *figures.get("zones", {}).items()]
    ]
    header = ["zone", *(figure.label for figure in columns[:-1]), "VRAM, mean"]
    counts = [f"{figures[key]:,} {key.replace('_', ' ')}" for key in _OUTCOMES if figures.get(key)]
    caption = f"{figures.get('policy', '')}, {figures.get('backend', '')}"
    binding = binding_text(figures.get("binding", {}))
    counts += [f"binding: {binding}"] if binding else []
    return html_table(header, rows, caption, ", ".join(counts))


def comparison_html(
    rows: Sequence[Mapping[str, Any]],
    optimum_s: float,
    counts: str = "load_cost_s",
    warmup: int = 0,
    floor: Mapping[str, Any] | None = None,
    remarks: Sequence[str] = (),
) -> str:
    """One row per policy and order, the best of each column in bold, and bounds and remarks below."""
    columns, mode = table("notebook"), rows[0].get("mode")

    def shown(figure: Figure, value: Any) -> str:
        return figure.text(value, mode, _NOTHING)

    best = {}
    for figure in columns:
        known = [row[figure.key] for row in rows if row.get(figure.key) is not None]
        best[figure.key] = shown(figure, figure.best(known)) if known else None
    several = len({row.get("order") for row in rows}) > 1
    body = []
    for row in rows:
        cells: list[str | Cell] = [
            str(row.get("baseline", row["policy"])),
            *([str(row["order"])] if several else []),
        ]
        for figure in columns:
            text = shown(figure, row.get(figure.key))
            cells.append(Cell(text, "strong" if text == best[figure.key] != _NOTHING else ""))
        body.append(cells)
    what = FIGURES["load_cost_s"].label if counts == "load_cost_s" else counts
    notes = [f"offline optimum: {what} {text_of(optimum_s, 'seconds')}"]
    if floor is not None:
        mean, p99 = (FIGURES[f"latency_{key}_s"] for key in ("mean", "p99"))
        mean_text, p99_text = (figure.text(floor[figure.key], mode, _NOTHING) for figure in (mean, p99))
        notes.append(f"with memory for all models: mean {mean_text}, p99 {p99_text}")
    bound = [row.get("binding", {}) for row in rows]
    limits = {name: max(limits.get(name, 0) for limits in bound) for limits in bound for name in limits}
    notes += [f"binding: {binding_text(limits)} at most"] if limits else []
    notes += [f"the first {warmup:,} requests do not count"] if warmup else []
    notes += remarks
    header = ["policy", *(["order"] if several else []), *(figure.label for figure in columns)]
    return html_table(header, body, note="; ".join(notes))
