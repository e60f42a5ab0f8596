"""Settings for somebody's own server, tried by replay: the best of what is worth trying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vramlab.analysis.keep_alive import best_timeouts, gaps_of
from vramlab.config.errors import InputError
from vramlab.experiments.case import Case
from vramlab.experiments.replay import run
from vramlab.servers.export import candidates, card_of, written

_KEYS = ("refused", "loads", "load_cost_s", "latency_mean_s", "latency_p99_s", "latency_max_s")


@dataclass(frozen=True, eq=False)
class Exported:
    """What was written, and how it does.

    Parameters
    ----------
    text : str
        The server's settings.
    server : str
        The preset that they are, with options.
    figures, before, ours : dict
        Of a replay as these settings, as the server's defaults, and under vramlab's own.
    tried : list of dict
        All that was tried, best first.
    """

    text: str
    server: str
    figures: dict[str, Any]
    before: dict[str, Any]
    ours: dict[str, Any]
    tried: list[dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """The keys of ``vramlab export --json``."""
        names = ("server", "text", "figures", "before", "ours", "tried")
        return {name: getattr(self, name) for name in names}


def export(case: Case, server: str, done: Callable[[], object] | None = None) -> Exported:
    """Find settings for a server on a case's trace and card, and write them.

    The fewest refusals come first, then the least mean latency.

    Parameters
    ----------
    case : Case
        Trace, card, models, and vramlab's own settings for comparison.
    server : str
        One of :data:`~vramlab.servers.export.EXPORTS`.
    done : callable, optional
        Called after each replay.

    Raises
    ------
    InputError
        For a server that nothing is written for, decide mode, and a trace of one model.
    """
    if case.mode == "decide":
        raise InputError("--mode", "", "decide", "simulate: in the other mode nobody waits")
    gaps = gaps_of(case.trace, case.inventory)
    timeouts = best_timeouts(gaps, case.config.budget_bytes, max(case.trace.duration_s, 1e-9))
    card = card_of(case.trace, case.config, case.inventory)
    tried = []
    for text in candidates(server, card, timeouts):
        tried.append(_figures(run(case.as_server(text)).figures) | {"server": text})
        if done is not None:
            done()
    if all(one["latency_mean_s"] is None for one in tried):
        room = f"{case.config.budget_bytes / 2**20:,.0f} MB for models, of which none fits"
        raise InputError("total_memory_mb", "", room, "a card that serves some request of the trace")
    before = tried[0]
    # of equals one whose options are spelled out: LocalAI's default stands for a number that the card gives
    tried.sort(key=lambda one: (one["refused"], one["latency_mean_s"], one["server"] == server))
    best, ours = tried[0], _figures(run(case).figures)
    if done is not None:
        done()
    requests = f"{len(case.trace):,} requests of {case.trace.source}"
    comments = [
        f"By replay of {requests}, simulated under the preset `{server}`:",
        f"  with these settings   {_shown(best)}",
        f"  with its defaults     {_shown(before)}",
        f"  vramlab's own         {_shown(ours)}: the difference is what cannot be said here",
    ]
    return Exported(written(best["server"], comments), best["server"], best, before, ours, tried)


def _seconds(value_s: float) -> str:
    return f"{value_s:,.0f} s" if value_s >= 100 else f"{value_s:.3g} s"


def _figures(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: figures[key] for key in _KEYS}


def _shown(figures: dict[str, Any]) -> str:
    if figures["latency_mean_s"] is None:
        return f"all {figures['refused']:,} refused"
    refused = f", {figures['refused']:,} refused" if figures["refused"] else ""
    return (
        f"mean {_seconds(figures['latency_mean_s'])}, 99th percentile {_seconds(figures['latency_p99_s'])}, "
        f"{figures['loads']:,} loads ({figures['load_cost_s']:,.0f} s){refused}"
    )
