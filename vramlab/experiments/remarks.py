"""What to know beside the figures of a comparison: what binds, what zones cost, and why there is no gap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vramlab.analysis.figures import FIGURES
from vramlab.experiments.case import Case
from vramlab.experiments.doubts import doubts, ignored_limits, span
from vramlab.experiments.floor import PRICES

_Row = Mapping[str, Any]


def remarks_on(
    case: Case, rows: Sequence[_Row], baselines: Sequence[_Row], zones: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the remarks on some runs of one case.

    Parameters
    ----------
    rows, baselines, zones
        As of :class:`~vramlab.experiments.comparison.Comparison`.
    """
    lines = doubts(case)
    lines += _unserved(case, rows)
    lines += _below_the_floor([*rows, *baselines])
    if zones is not None and (len(case.config.zones) > 1 or _limited(case)):
        lines.append(zones_text(zones))
    limits = ignored_limits(case.config, [row["binding"] for row in rows])
    if limits:
        lines.append(f"the offline optimum sees one pool and ignores: {'; '.join(limits)}")
    lines += [f"no baseline {row['baseline']}: {row['error']}" for row in baselines if "error" in row]
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["gap_reason"]:
            reasons.setdefault(row["gap_reason"], []).append(row["policy"])
    for reason, names in reasons.items():
        whom = "no policy" if len(names) == len(rows) else ", ".join(dict.fromkeys(names))
        lines.append(
            f"no gap closed for {whom}: {reason}" if whom != "no policy" else f"no gap closed: {reason}"
        )
    return lines


def _limited(case: Case) -> bool:
    """Whether the one zone has less than the card's memory, or another limit."""
    (zone,) = case.config.zones.values()
    whole = zone.size_bytes >= case.config.budget_bytes
    return not whole or zone.max_models is not None or zone.min_retention_time > 0


def _unserved(case: Case, rows: Sequence[_Row]) -> list[str]:
    lost = [row for row in rows if row["unserved"]]
    if not lost:
        return []
    what = {
        "load": "costs its model's load time and the run on top",
        "infeasible": "makes its setting infeasible",
    }
    price = case.config.study.unserved_price
    words = what[price] if isinstance(price, str) else f"costs {price:g} s"
    many = span([row["unserved"] for row in lost])
    return [f"{many} requests were refused or failed; each {words} (study.unserved_price)"]


def _below_the_floor(rows: Sequence[_Row]) -> list[str]:
    """Say why requests may be answered sooner than with memory for all models, where the GPU serves alone."""
    below = [row for row in rows if any((row.get(key) or 0.0) < 0 for key in PRICES)]
    if not below:
        return []
    why = []
    if any(row["fallbacks"] for row in below):
        why.append(f"the CPU answers {span([row['fallbacks'] for row in below])} requests beside the GPU")
    if any(row["unserved"] for row in below):
        why.append("requests without an answer have no latency")
    reasons = "; ".join(why) or "others go first than those who came first"
    return [f"a price below 0 is no gain of having less memory: {reasons}"]


def zones_text(zones: Mapping[str, Any]) -> str:
    """Say what zones cost, as of :func:`~vramlab.experiments.intervals.zones_cost`."""
    policy, share = zones["policy"], zones["share"]
    if math.isnan(share):
        return f"zones: no cost to compare with one pool under {policy}"
    against = f"{seconds(zones['cost_s'])} against {seconds(zones['pool_cost_s'])} of one pool under {policy}"
    if zones["low"] <= 0 <= zones["high"]:
        return f"your zones make no difference that shows: {share_text(zones)}, {against}"
    verb = "cost" if share > 0 else "save"
    low, high = sorted(abs(zones[end]) for end in ("low", "high"))
    return f"your zones {verb} you {100 * abs(share):.1f} % ({100 * low:.1f} to {100 * high:.1f}): {against}"


def share_text(found: Mapping[str, Any]) -> str:
    """Write a share with its interval: ``-2.4 % (-3.1 to -1.6)``."""
    return f"{100 * found['share']:+.1f} % ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})"


def seconds(value_s: float) -> str:
    """Write a cost for people."""
    return FIGURES["load_cost_s"].text(value_s)
