"""The facts: what there is, before anybody decides anything about it.

Decisions, models, zones and their ledgers, and what a policy is asked. Everything else in the allocator is
built on this file and on the states (:mod:`vramlab.allocator.states`), whose names it passes on; it imports
nothing of the allocator but them. A policy needs no other import.

Rules that must hold at every moment, per zone and for the device:

1. ``held`` is the sum of the footprints of the models that are loading, resident, in use or evicting there
   (those whose load still waits for its victims' bytes hold nothing yet). ``held <= cap``.
2. ``committed`` is what will be held once everything under way has ended: ``held``, less what is evicting,
   plus the claims of loads that wait. ``committed <= cap``, so that every claim can be met in the end.

The device's cap may shrink below what is there (another process takes memory). Then both rules hold with
``limit``, what was there at that moment, in the place of ``cap``: nothing new comes in until enough has left.

A zone's size is its own cap; the device-wide cap is the budget over all zones. An allocation needs room
under both (DESIGN, "Budget").
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum
from typing import Any, NamedTuple, Protocol

from vramlab.allocator.states import (
    ABSENT,
    EVICTING,
    IN_USE,
    LOADING,
    RESIDENT,
    IllegalTransition,
    State,
)
from vramlab.config.schema import ModelSpec, Priority, PriorityWeights, ZoneConfig

__all__ = [
    "ABSENT", "EVICTING", "IN_USE", "LOADING", "RESIDENT",
    "Decision", "IllegalTransition", "Kind", "Ledger", "Model", "Policy", "State", "Turn", "Zone",
]  # fmt: skip


class Kind(Enum):
    """What the allocator decided about a request."""

    HIT = "hit"  # resident: run now
    LOAD = "load"  # unload the victims, load, run
    JOIN = "join"  # a load of this model is under way: wait for it
    WAIT = "wait"  # models in use (or its own unloading) stand in the way: ask again after the next change
    CPU = "cpu"  # run on the CPU
    BYPASS = "bypass"  # serve without keeping it (decide mode, admission `compete`)
    REFUSE = "refuse"  # cannot be served
    UNLOAD = "unload"  # nobody asked for it: unload the one model that is named as the victim

    __hash__ = object.__hash__


class Decision(NamedTuple):
    """The answer to a request.

    ``zone`` is None where the model is not on the device; ``victims`` are in the order of leaving.
    """

    kind: Kind
    model: str
    zone: str | None = None
    victims: tuple[str, ...] = ()
    reason: str = ""


Turn = tuple[float, int]
"""A place among waiting requests: when it is due (seconds), then a number that tells equals apart."""


class Model:
    """One model of the inventory as the allocator and the policies see it.

    Policies read ``bytes``, ``load_s``, ``priority_weight`` and the account of use (``last_used_s``,
    ``loaded_at_s``, ``uses`` since loading, ``uses_total``); only the allocator writes.
    """

    __slots__ = (
        "always_loaded", "bytes", "claiming", "critical", "gpu_only", "guest", "hit", "home", "last_used_s",
        "load_s", "loaded_at_s", "may_run_on_cpu", "name", "number", "pins", "priority", "priority_weight",
        "rank", "state", "uses", "uses_total", "wanted", "zone",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        number: int,
        spec: ModelSpec,
        home: Zone,
        weights: PriorityWeights,
        cpu_enabled: bool,
    ) -> None:
        self.name = name
        self.number = number  # its place in the inventory, for columns over all models
        self.bytes = spec.footprint_bytes
        self.load_s = spec.load_s
        self.priority = spec.priority
        self.rank = spec.priority.rank
        self.critical = spec.priority is Priority.CRITICAL
        self.priority_weight = math.inf if self.critical else float(getattr(weights, spec.priority.value))
        self.gpu_only = not spec.may_run_on_cpu  # security-critical; else the CPU may just be switched off
        self.may_run_on_cpu = cpu_enabled and spec.may_run_on_cpu
        self.always_loaded = spec.always_loaded
        self.home = home
        self.zone = home  # where it is, or was last
        self.hit: Decision  # the answer to every hit, made when it changes zones
        self.guest = False  # in another zone than its home
        self.state = State.ABSENT
        self.claiming = False  # loading, and waiting for its victims' bytes
        self.pins = 0  # requests that run it, or wait for its load
        self.last_used_s = -math.inf
        self.loaded_at_s = -math.inf
        self.uses = 0
        self.uses_total = 0
        self.wanted: Turn | None = None  # place of the first request that waits for it; None: nobody waits

    def catch_up(self, uses_total: int, last_used_s: float) -> None:
        """Bring the account up to date with hits that were found in bulk: all uses, and the last one."""
        self.uses += uses_total - self.uses_total
        self.uses_total = uses_total
        self.last_used_s = last_used_s

    def __repr__(self) -> str:
        return f"<Model {self.name} {self.state.value} in {self.zone.name}, {self.bytes} bytes>"


class Ledger:
    """Bytes held and bytes promised under one cap."""

    __slots__ = ("bound", "cap", "committed", "held", "limit", "name")

    def __init__(self, name: str, cap_bytes: int) -> None:
        self.name = name
        self.cap = cap_bytes
        self.limit = cap_bytes  # more than the cap only after that has shrunk
        self.held = 0
        self.committed = 0
        self.bound = 0  # requests for which a model found too few bytes here

    @property
    def room(self) -> int:
        """Bytes that a new load may have once everything under way has ended."""
        return self.cap - self.committed


class Zone(Ledger):
    """One zone: a ledger, the zone's rules, and the policy that ranks its models for eviction."""

    __slots__ = (
        "borrowers",
        "bound_slots",
        "count",
        "guests",
        "max_models",
        "never",
        "policy",
        "reluctant",
        "retention_s"
    )  # fmt: skip

    def __init__(self, name: str, config: ZoneConfig, policy: Policy) -> None:
        super().__init__(name, config.size_bytes)
        self.policy = policy
        self.never = config.eviction_policy == "never"
        self.reluctant = config.eviction_policy == "reluctant_lru"
        self.retention_s = config.min_retention_time
        self.max_models = config.max_models
        self.bound_slots = 0  # requests for which a model found `max_models` there
        self.borrowers: frozenset[Priority] = frozenset(config.borrowers)
        self.count = 0  # models loading, resident or in use here
        self.guests = 0  # those of them whose home is elsewhere

    @property
    def slots(self) -> int | None:
        """How many more models may be loaded under ``max_models``; None for no limit."""
        return None if self.max_models is None else self.max_models - self.count


class Policy(Protocol):
    """Ranks the models of one zone; one instance serves one zone.

    A class of one's own may take this as its base and so inherit the switches.

    Attributes
    ----------
    in_order : bool
        Victims are taken strictly in the order of :meth:`ranked`; else those that later ones make
        unnecessary are spared.
    merges_uses : bool
        Uses between two misses may be handed in together: :meth:`used` once per model, in the order of the
        models' last uses, with the account of the model already at that last use. True where the state is
        per model and follows from the account alone.
    takes_runs : bool
        The same, by :meth:`used_together` alone: for who needs to know the time of each use, and looks it up
        in the run. Where the run's columns do not suit, its uses are handed in one by one.
    adds_up : bool
        Scores of several models may be compared with each other as sums (``victims: exact``).
    """

    in_order: bool = False
    merges_uses: bool = False
    takes_runs: bool = False
    adds_up: bool = True

    def admitted(self, model: Model, now_s: float) -> None:
        """`model` is being loaded for a request, or preloaded; its account is already up to date."""

    def used(self, model: Model, now_s: float) -> None:
        """A request asked for `model`, which is tracked; its account is already up to date."""

    def used_together(self, run: Any) -> None:
        """Many uses at once, to the same end as one after the other; asked of who merges uses or takes runs.

        The accounts of the models are not up to date. One after the other by default; worth writing anew
        where columns do it faster, as long as what is asked next (:meth:`ranked`, :meth:`removed`,
        :meth:`used`) does not read an account that the run has moved.
        """
        for model in run.caught_up():
            self.used(model, model.last_used_s)

    def removed(self, model: Model, evicted: bool) -> None:
        """`model` leaves: as a victim, or (`evicted` false) because its load failed or it was unloaded."""

    def bid(self, model: Model, now_s: float) -> float:
        """What a newcomer offers against its victims (admission ``compete``); its score by default.

        What comes of it is the next thing that the policy hears, as :meth:`rejected`, or as
        :meth:`removed` of the victims and :meth:`admitted`.
        """
        return self.score(model, now_s)

    def rejected(self, model: Model, now_s: float) -> None:
        """`model` was asked for and not admitted, being worth less than its victims; nothing by default."""
        return None

    def grown(self, model: Model) -> None:
        """`model`, which is not tracked, has turned out larger than it was; nothing by default."""
        return None

    def score(self, model: Model, now_s: float) -> float:
        """How much `model`, tracked or not, is worth keeping; the lowest leaves first."""
        raise NotImplementedError

    def ranked(self, now_s: float) -> Iterable[Model]:
        """All tracked models, the first to leave first.

        May be lazy: it is consumed before anything else is told to the policy. It changes nothing that
        shows, as the victims may turn out not to be enough, and nobody leaves.
        """
        raise NotImplementedError
