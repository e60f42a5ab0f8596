"""Who leaves though nobody asks for its place: models that are not used, and whoever may go under pressure.

Never critical models, models in use, being loaded or leaving already, and models of zones that evict nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop
from typing import Final

from vramlab.allocator.facts import Model
from vramlab.allocator.states import RESIDENT
from vramlab.config.schema import Priority

_CRITICAL: Final = Priority.CRITICAL
_HIGH: Final = Priority.HIGH


def may_be_unused(model: Model) -> bool:
    """Whether the rule for unused models is for `model`: of low or medium priority, and not always loaded."""
    spared = model.priority is _CRITICAL or model.priority is _HIGH or model.always_loaded
    return not spared and not model.zone.never


def unused_since(model: Model, unused_after_s: float) -> float:
    """The time after which `model` counts as unused if nobody asks for it: not before retention is over."""
    return max(model.last_used_s + unused_after_s, model.loaded_at_s + model.zone.retention_s)


def unused_models(models: Iterable[Model], now_s: float, unused_after_s: float) -> list[Model]:
    """Models of low or medium priority that nobody has asked for lately, the largest first.

    Parameters
    ----------
    models : iterable of Model
        Those that are there.
    now_s, unused_after_s : float
        The time, and how long a model must have been unused, seconds.

    Returns
    -------
    list of Model
        Largest first (specification, "sort by memory impact"); of equal ones, the longest unused, then in the
        order of the inventory.
    """
    found = [
        model
        for model in models
        if model.state is RESIDENT
        and model.wanted is None
        and may_be_unused(model)
        and now_s > unused_since(model, unused_after_s)
    ]
    return sorted(found, key=lambda model: (-model.bytes, model.last_used_s, model.number))


def relief_victims(models: Iterable[Model], needed_bytes: int, now_s: float) -> list[Model]:
    """Victims under memory pressure: by score, the lowest first, until `needed_bytes` are freed.

    Unlike the victims of a request they are taken even if all together do not free enough, since every byte
    helps; retention protects nobody. Those that later ones make unnecessary are spared, the most valuable
    first.
    """
    order = [  # those that requests wait for last
        (model.wanted is not None, model.zone.policy.score(model, now_s), model.number, model)
        for model in models
        if model.state is RESIDENT and not model.critical and not model.zone.never
    ]
    heapify(order)  # a few leave of many: no need to sort them all
    victims: list[Model] = []
    freed = 0
    while order and freed < needed_bytes:
        victim = heappop(order)[3]
        victims.append(victim)
        freed += victim.bytes
    needed = []
    for model in reversed(victims):
        if freed - model.bytes >= needed_bytes:
            freed -= model.bytes
        else:
            needed.append(model)
    return needed[::-1]
