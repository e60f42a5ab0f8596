"""One page for a purchase or a change: what to set on each card, what it brings, and what would change that.

On each card some candidates (policies, in the reader's zones and in one pool) are compared on the first half
of the requests. The best of them is judged on the other half, so its intervals are those of one setting that
was not chosen for them. Cards are held against each other pair by pair, on the same requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from vramlab.analysis.resampling import jointly
from vramlab.analysis.statistics import request_series
from vramlab.config.errors import InputError
from vramlab.config.schema import VramConfig
from vramlab.experiments.advice import Advice, Card, Step, assumptions_of
from vramlab.experiments.baselines import LRU, one_pool, specification_zones
from vramlab.experiments.case import Case, ConfigLike, ModelsLike, TraceLike, names_of, resolve_case
from vramlab.experiments.doubts import doubts, fits_nowhere
from vramlab.experiments.intervals import Counted, cost_share
from vramlab.experiments.optimum import costed, judged
from vramlab.experiments.parts import boundary
from vramlab.experiments.replay import Replay, run
from vramlab.experiments.requirements import Requirement, requirements_of
from vramlab.experiments.sensitivity import sensitivity
from vramlab.experiments.side_by_side import card_text, on_card

POLICIES = ("seed_fixed", "decayed", "gdsf", "lru")
"""Policies that are tried beside the configuration's own."""


class _Tried(NamedTuple):
    """A candidate on one card."""

    layout: str
    policy: str
    case: Case
    result: Replay


@dataclass(frozen=True)
class Asked:
    """What advice is asked for.

    Parameters
    ----------
    cards_mb : sequence of float
        Sizes of the card; the configuration's where none are given.
    require : sequence of str
        What has to hold, as for :func:`~vramlab.experiments.tuning.tune`. The recommended card is the least
        that keeps to it; without, the least after which a larger one saves less than `worth` of the cost.
    policies : sequence of str
        To try beside the configuration's.
    worth : float
        Share of the cost.
    """

    cards_mb: Sequence[float] = ()
    require: Sequence[str] = ()
    policies: Sequence[str] = POLICIES
    worth: float = 0.05


# Users call it by keyword; `advised` takes a case.
def advise(
    trace: TraceLike,
    config: ConfigLike = None,
    models: ModelsLike = None,
    cards_mb: Sequence[float] = (),
    require: Sequence[str] = (),
    overrides: Sequence[str] = (),
    seed: int = 0,
) -> Advice:
    """Say what to take for a trace, what it brings, and what would change that.

    Parameters
    ----------
    trace, config, models, overrides, seed
        As for :func:`~vramlab.experiments.replay.replay`.
    cards_mb, require
        See :class:`Asked`.

    Raises
    ------
    InputError
        As :func:`advised`, and for bad input.
    """
    return advised(
        resolve_case(trace, config, models, overrides, seed=seed),
        Asked(tuple(cards_mb), tuple(names_of(require))),
    )


def advised(case: Case, asked: Asked | None = None, done: Callable[[], object] | None = None) -> Advice:
    """Try candidates on each card, and say which to take.

    Parameters
    ----------
    case : Case
        What is replayed.
    asked : Asked, optional
        What is asked for.
    done : callable, optional
        Called after each card and each check.

    Raises
    ------
    InputError
        For requirements that are none, decide mode, a trace that is too short, and cards on which nothing
        goes.
    """
    asked, done = asked or Asked(), done or (lambda: None)
    if case.mode == "decide":
        raise InputError("advise", "", "mode decide", "mode simulate, as latencies are asked about")
    require = requirements_of(asked.require, case.config)
    first = boundary(case.trace, 0.5)
    cards: list[Card] = []
    winners: list[_Tried] = []
    for total_mb in sorted(asked.cards_mb or [case.config.total_memory_mb]):
        here = case.under(on_card(case.config, total_mb))
        tried = _tried(here, asked.policies)
        winner = _best(tried, first, require)
        cards.append(_card(here, tried, winner, first, require))
        winners.append(winner)
        done()
    steps = [_step(winners[at], winners[at + 1], first) for at in range(len(winners) - 1)]
    at = _recommended(cards, steps, asked.worth)
    holds = {f"against {LRU}": sensitivity(one_pool(winners[at].case, "lru"), winners[at].case.config)}
    done()
    for step, (smaller, larger) in zip(steps, pairwise(winners), strict=True):
        holds[f"{step.larger} against {step.smaller}"] = sensitivity(smaller.case, larger.case.config)
        done()
    return Advice(
        requests=len(case.trace) - first,
        cards=cards,
        steps=steps,
        recommended=at,
        why=_why(cards, at, require, asked.worth),
        config=winners[at].case.config,
        holds={name: table for name, table in holds.items() if not table.empty},
        assumed=assumptions_of(case),
        require=[str(one) for one in require],
    )


def _tried(case: Case, policies: Sequence[str]) -> list[_Tried]:
    """Replay every policy in the reader's zones, and in one pool; the specification's zones once."""
    own = case.config.scoring.policy
    layouts: dict[str, Callable[[str], Case]] = {"one pool": lambda policy: one_pool(case, policy)}
    if len(case.config.zones) > 1 or one_pool(case, own).config.zones != case.config.zones:
        layouts = {"your zones": lambda policy: _with(case, policy)} | layouts
    found = []
    for layout, make in layouts.items():
        for policy in dict.fromkeys([own, *policies]):
            found += _replayed(layout, policy, partial(make, policy))
    return found + _replayed("the specification's zones", own, lambda: specification_zones(case))


def _replayed(layout: str, policy: str, make: Callable[[], Case]) -> list[_Tried]:
    try:
        case = make()
    except InputError:  # critical models that have no room in it: no candidate
        return []
    return [_Tried(layout, policy, case, run(case))]


def _with(case: Case, policy: str) -> Case:
    """The case under another policy, without the weights that belong to its own."""
    if policy == case.config.scoring.policy:
        return case
    data = case.config.model_dump(mode="json")
    data["scoring"] = data["scoring"] | {"policy": policy, "weights": {}, "victims": "auto"}
    return case.under(VramConfig.model_validate(data))


def _best(tried: Sequence[_Tried], first: int, require: Sequence[Requirement]) -> _Tried:
    """The candidate that costs least on the first half, of those that keep to most there."""

    def key(one: _Tried) -> tuple[int, float]:
        whole, late = judged(one.case, one.result), judged(one.case, one.result, first)
        missed = sum(limit.excess(whole) > 0 for limit in require)
        return missed, whole["cost_s"] - late["cost_s"] if math.isfinite(whole["cost_s"]) else math.inf

    if not tried:
        raise InputError("advise", "", "no setting that goes with the models", "a larger card")
    return min(tried, key=key)


def _card(
    here: Case, tried: Sequence[_Tried], winner: _Tried, first: int, require: Sequence[Requirement]
) -> Card:
    row = costed(winner.case, winner.result, first)
    priced = judged(winner.case, winner.result, first)
    rivals = {"what you have": tried[0], LRU: _pool_lru(tried)}
    versus = {
        name: cost_share(_late(winner, first), _late(one, first), here.seed)
        for name, one in rivals.items()
        if one is not None and one is not winner
    }
    return Card(
        card=card_text(here.config.total_memory_mb),
        layout=winner.layout,
        policy=winner.policy,
        zones={name: zone.size_mb for name, zone in winner.case.config.zones.items()},
        figures=row,
        latency_mean_s=_mean(winner, first),
        versus=versus,
        missed=[str(one) for one in require if one.excess(priced) > 0],
        doubts=[*doubts(winner.case), *_of_yours(here, winner)],
    )


def _of_yours(here: Case, winner: _Tried) -> list[str]:
    """What the reader's own zones lack that the recommended setting has."""
    large = fits_nowhere(here.config, here.inventory).keys() - fits_nowhere(
        winner.case.config, winner.case.inventory
    ).keys() & set(here.trace.model_names)
    return [f"in your zones {', '.join(sorted(large))} would fit nowhere"] if large else []


def _pool_lru(tried: Sequence[_Tried]) -> _Tried | None:
    return next((one for one in tried if (one.layout, one.policy) == ("one pool", "lru")), None)


def _late(one: _Tried, first: int) -> Counted:
    return Counted(one.case, one.result.records.from_request(first))


def _latency(one: _Tried, first: int) -> Any:
    return request_series(one.result.records.from_request(first), "latency_s")


def _mean(one: _Tried, first: int) -> tuple[float, float, float]:
    (found,) = jointly([_latency(one, first)], np.random.default_rng(one.case.seed)).each
    return found.estimate, found.low, found.high


def _step(smaller: _Tried, larger: _Tried, first: int) -> Step:
    """Hold a card against the one before it."""
    series = [_latency(one, first) for one in (smaller, larger)]
    _, waited = jointly(series, np.random.default_rng(smaller.case.seed)).differences
    late = [costed(one.case, one.result, first) for one in (smaller, larger)]
    days = float(np.ptp(smaller.case.trace.times_s[first:])) / 86_400
    names = [card_text(one.case.config.total_memory_mb) for one in (smaller, larger)]
    return Step(
        smaller=names[0],
        larger=names[1],
        cost=cost_share(_late(larger, first), _late(smaller, first), smaller.case.seed),
        latency_s=(waited.estimate, waited.low, waited.high) if waited else (math.nan,) * 3,
        p99_s=tuple(row["latency_p99_s"] for row in late),
        saved_s_per_day=(late[0]["cost_s"] - late[1]["cost_s"]) / days if days else math.nan,
    )


def _recommended(cards: Sequence[Card], steps: Sequence[Step], worth: float) -> int:
    """The least card that misses nothing; of those, the least whose next step is not worth it."""
    least = min(len(card.missed) for card in cards)
    kept = [at for at, card in enumerate(cards) if len(card.missed) == least]
    if any(card.missed for card in cards):
        return kept[0]
    for at, step in enumerate(steps):
        if not step.cost["high"] < -worth:
            return at
    return len(cards) - 1


def _why(cards: Sequence[Card], at: int, require: Sequence[Requirement], worth: float) -> str:
    if len(cards) == 1:
        return "the only card that was asked about"
    if any(card.missed for card in cards):
        if cards[at].missed:
            return "no card keeps to all that is required; it misses least"
        return "the least card that keeps to all that is required"
    kept = "all cards keep to what is required; " if require else ""
    if at == len(cards) - 1:
        return f"{kept}each step up saves more than {100 * worth:g} % of the cost, for sure"
    return f"{kept}the next step up does not surely save more than {100 * worth:g} % of the cost"
