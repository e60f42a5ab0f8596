"""The page that :mod:`vramlab.experiments.advising` fills: as lines, as HTML, as a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from vramlab.analysis.figures import FIGURES
from vramlab.analysis.metrics import binding_text
from vramlab.config.html import html_table
from vramlab.config.models import ModelSpec
from vramlab.config.schema import VramConfig
from vramlab.experiments.case import Case
from vramlab.experiments.remarks import seconds, share_text
from vramlab.experiments.sensitivity import sensitivity_text

_ASSUMED_MS_PER_MB = 3.4  # as imports assume it


@dataclass(frozen=True)
class Card:
    """What is best on one card, judged on the second half of the requests.

    Parameters
    ----------
    card, layout, policy : str
        Size of the card, and what won on the first half.
    zones : dict of str to float
        Sizes, MB.
    figures : dict
        As of :func:`~vramlab.experiments.optimum.costed`.
    latency_mean_s : tuple of float
        Mean with its 95 % interval, seconds.
    versus : dict
        By which share of the cost it is above others, with intervals.
    missed, doubts : list of str
        Requirements that it does not keep to; what to look at.
    """

    card: str
    layout: str
    policy: str
    zones: dict[str, float]
    figures: dict[str, Any]
    latency_mean_s: tuple[float, float, float]
    versus: dict[str, dict[str, float]]
    missed: list[str]
    doubts: list[str]


@dataclass(frozen=True)
class Step:
    """From one card to the next larger one, paired on the same requests.

    Parameters
    ----------
    smaller, larger : str
        Cards.
    cost : dict
        Share by which the larger one costs more, with ``low`` and ``high``.
    latency_s : tuple of float
        Difference of the mean latencies, with its interval, seconds.
    p99_s : tuple of float
        99th percentile on each.
    saved_s_per_day : float
        Seconds of loading (and of the CPU) that the larger one saves in a day of such traffic.
    """

    smaller: str
    larger: str
    cost: dict[str, float]
    latency_s: tuple[float, ...]
    p99_s: tuple[float, ...]
    saved_s_per_day: float

    def __str__(self) -> str:
        mean = " to ".join(f"{1000 * value:+,.0f}" for value in self.latency_s[1:])
        before, after = (FIGURES["latency_p99_s"].text(value) for value in self.p99_s)
        tie = self.cost["low"] <= 0 <= self.cost["high"]
        verdict = "makes no difference that shows" if tie else f"costs {share_text(self.cost)}"
        return (
            f"{self.larger} instead of {self.smaller}: {verdict}; mean latency "
            f"{1000 * self.latency_s[0]:+,.0f} ms ({mean}), 99th percentile {before} to {after}, "
            f"{seconds(self.saved_s_per_day)} less loading and CPU time per day"
        )


@dataclass(frozen=True, eq=False)
class Advice:
    """The answer.

    Parameters
    ----------
    requests : int
        That judge: the second half.
    cards : list of Card
        From small to large.
    steps : list of Step
        Between them.
    recommended : int
        Place of the recommended card.
    why : str
        By which rule.
    config : VramConfig
        The recommended configuration.
    holds : dict of str to DataFrame
        Whether it holds if what was assumed is wrong (:mod:`vramlab.experiments.sensitivity`).
    assumed, require : list of str
        What was taken for granted, and what was required.
    """

    requests: int
    cards: list[Card]
    steps: list[Step]
    recommended: int
    why: str
    config: VramConfig
    holds: dict[str, pd.DataFrame]
    assumed: list[str]
    require: list[str]

    @property
    def chosen(self) -> Card:
        """The recommended card."""
        return self.cards[self.recommended]

    def sections(self) -> dict[str, list[str]]:
        """Return the page as titles and lines."""
        card = self.chosen
        zones = ", ".join(f"{name} {size:,g} MB" for name, size in card.zones.items())
        take = [f"{card.card}, {card.layout} ({zones}), policy {card.policy}: {self.why}"]
        take += [f"NOT KEPT: {limit}" for limit in card.missed]
        brings = [f"cost against {name}: {_change(share)}" for name, share in card.versus.items()]
        mean, low, high = card.latency_mean_s
        brings.append(f"mean latency {1000 * mean:,.0f} ms ({1000 * low:,.0f} to {1000 * high:,.0f})")
        binds = [binding_text(card.figures["binding"]) or "no limit was reached", *card.doubts]
        changes = [f"{name}: {sensitivity_text(table)}" for name, table in self.holds.items()]
        found = {"Take": take, "What it brings": brings}
        if self.steps:
            found["Is the larger card worth it?"] = [str(step) for step in self.steps]
        return found | {
            "What binds": binds,
            "What was assumed": self.assumed,
            "What would change it": changes,
        }

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return header and cells of the table of cards."""
        keys = ("hit_rate", "cold_starts", "waits", "fallbacks", "refused", "failed", "cost_s",
                "latency_mean_s", "latency_p99_s")  # fmt: skip
        figures = [FIGURES[key] for key in keys]
        header = ["card", "best of the first half", *(one.label for one in figures), "against what you have"]
        cells = [
            [
                f"{'> ' if place == self.recommended else ''}{card.card}",
                f"{card.layout}, {card.policy}",
                *(one.text(card.figures[one.key]) for one in figures),
                _change(card.versus["what you have"]) if "what you have" in card.versus else "is it",
            ]
            for place, card in enumerate(self.cards)
        ]
        return header, cells

    @property
    def caption(self) -> str:
        """What the table is of."""
        return f"judged on the last {self.requests:,} requests, which no choice has seen"

    def document(self) -> dict[str, Any]:
        """Return the keys of ``vramlab advise --json``."""
        return {
            "recommended": self.chosen.card,
            "why": self.why,
            "cards": [vars(one) for one in self.cards],
            "steps": [vars(one) for one in self.steps],
            "sensitivity": {name: table.to_dict("records") for name, table in self.holds.items()},
            "sections": self.sections(),
            "config": self.config.model_dump(mode="json"),
        }

    def comment(self) -> str:
        """Return what stands on top of the recommended configuration's file."""
        parts = [f"{title}: {line}" for title, lines in self.sections().items() for line in lines]
        return "\n".join(["Advice of vramlab.", *parts])

    def __repr__(self) -> str:
        return f"Advice({len(self.cards)} cards, {self.requests:,} requests: {self.why})"

    def _repr_html_(self) -> str:
        header, cells = self.rows()
        page = html_table(header, cells, caption=self.caption, left=2)
        for title, lines in self.sections().items():
            items = "".join(f"<li>{escape(line)}</li>" for line in lines)
            page += f"<p><b>{escape(title)}</b></p><ul>{items}</ul>"
        return page

    def page(self, title: str) -> str:
        """Return a whole HTML page."""
        style = "body{font-family:sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
        head = f"<meta charset='utf-8'><title>{escape(title)}</title><style>{style}</style>"
        body = f"<h1>{escape(title)}</h1>{self._repr_html_()}"
        return f"<!doctype html><html><head>{head}</head><body>{body}</body></html>"


def _change(found: Mapping[str, float]) -> str:
    tie = found["low"] <= 0 <= found["high"]
    return f"tie, {share_text(found)}" if tie else share_text(found)


def assumptions_of(case: Case) -> list[str]:
    """Say what a case takes for granted: what seems not to have been measured, and what no run knows."""
    specs = {name: case.inventory[name] for name in case.trace.model_names}
    count, sizes = len(specs), [spec.vram_size_mb for spec in specs.values()]
    lines = []
    if count > 2 and len(set(sizes)) == 1:
        lines.append(f"all {count} models have {sizes[0]:g} MB: is that measured?")
    linear = sum(
        np.isclose(s.load_time_ms, s.vram_size_mb * _ASSUMED_MS_PER_MB, atol=0.01) for s in specs.values()
    )
    if linear:
        lines.append(
            f"load times of {linear} of {count} models are {_ASSUMED_MS_PER_MB} ms per MB, as imports assume"
        )
    plain = ModelSpec.model_fields["inference_ms"].default
    guessed = sum(spec.inference_ms == plain for spec in specs.values())
    if guessed:
        lines.append(f"run times of {guessed} of {count} models are the default of {plain:g} ms")
    config = case.config
    on_cpu = sum(spec.may_run_on_cpu and spec.cpu_inference_ms is None for spec in specs.values())
    if config.fallback.cpu_fallback_enabled and on_cpu:
        ratio = config.fallback.cpu_performance_ratio
        lines.append(f"the CPU is taken to be {1 / ratio:.1f} times slower for {on_cpu} of {count} models")
    price = config.study.unserved_price
    lines.append(f"a request that is not served costs: {price}{'' if isinstance(price, str) else ' s'}")
    lines.append("traffic will be as in the second half of the log, however long answers take")
    return lines
