"""The facts: what there is, before anybody decides anything about it.

Models, zones and their ledgers, and what a policy is asked. Everything else in the allocator is built on this
file, on the decisions (:mod:`vramlab.allocator.decisions`), and on the states
(:mod:`vramlab.allocator.states`), whose names it passes on; beside these it imports
:mod:`vramlab.allocator.traits` alone. A policy needs no other import.

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
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from vramlab.allocator.decisions import Decision, Kind
from vramlab.allocator.states import (
    ABSENT,
    ADMITTED_AT_ONCE,
    CHOSEN,
    EVICTING,
    EXPELLED_AT_ONCE,
    FAILED,
    IN_USE,
    LOADED,
    LOADED_FOR,
    LOADING,
    PINNED,
    PRESENT,
    PROMISED,
    RESIDENT,
    STAYING,
    UNLOADED,
    UNPINNED,
    IllegalTransition,
    State,
)
from vramlab.allocator.traits import Traits
from vramlab.config.schema import Priority, ZoneConfig

__all__ = [
    "ABSENT", "EVICTING", "IN_USE", "LOADING", "PRESENT", "RESIDENT", "STAYING",
    "IllegalTransition", "Ledger", "Model", "Policy", "State", "Turn", "Zone",
]  # fmt: skip


# For the hot path: a look-up in the table costs no call.
_AFTER_PIN: Final = PINNED.follows[RESIDENT]
_AFTER_UNPIN: Final = UNPINNED.follows[IN_USE]
_AFTER_PROMISE: Final = PROMISED.follows[ABSENT]
_AFTER_LOAD: Final = LOADED.follows[LOADING]
_AFTER_LOAD_FOR: Final = LOADED_FOR.follows[LOADING]
_AFTER_CHOICE: Final = CHOSEN.follows[RESIDENT]
_AFTER_UNLOADING: Final = UNLOADED.follows[EVICTING]
_AFTER_ADMISSION: Final = ADMITTED_AT_ONCE.follows[ABSENT]
_AFTER_EXPULSION: Final = EXPELLED_AT_ONCE.follows[RESIDENT]

Turn = tuple[float, ...]
"""A place among waiting requests: when it is due (seconds), then a number that tells equals apart."""
# not the type of a pair: that the compiler takes apart, and puts together again, wherever it goes


class Model:
    """One model of the inventory as the allocator and the policies see it.

    Policies read ``bytes``, ``load_s``, ``priority_weight`` and the account of use (``last_used_s``,
    ``loaded_at_s``, ``uses`` since loading, ``uses_total``); only the allocator writes.
    """

    __slots__ = (
        "always_loaded", "bytes", "claiming", "critical", "gpu_only", "guest", "hit", "home", "keep_alive_s",
        "last_used_s", "load_s", "loaded_at_s", "may_run_on_cpu", "name", "number", "pins", "places",
        "priority", "priority_weight", "rank", "run_s", "state", "uses", "uses_total", "wanted", "zone",
    )  # fmt: skip

    def __init__(self, name: str, number: int, traits: Traits, places: list[Zone]) -> None:
        self.name = name
        self.number = number  # its place in the inventory, for columns over all models
        self.bytes, self.load_s, self.run_s = traits.bytes, traits.load_s, traits.run_s
        self.priority, self.rank, self.critical = traits.priority, traits.rank, traits.critical
        self.priority_weight, self.always_loaded = traits.priority_weight, traits.always_loaded
        self.gpu_only, self.may_run_on_cpu = traits.gpu_only, traits.may_run_on_cpu
        self.places = places  # its home, then the zones that lend to its priority
        self.home = self.zone = home = places[0]  # `zone` is where it is, or was last
        self.hit = Decision(Kind.HIT, name, home.name)  # the answer to every hit, made when it changes zones
        self.keep_alive_s = math.inf  # how long it may be idle (rules.keep_alive_s)
        self.guest = False  # in another zone than its home
        self.state = State.ABSENT
        self.claiming = False  # loading, and waiting for its victims' bytes
        self.pins = 0  # requests that run it, or wait for its load
        self.last_used_s = self.loaded_at_s = -math.inf
        self.uses = self.uses_total = 0
        self.wanted: Turn | None = None  # place of the first request that waits for it; None: nobody waits

    def loaded(self, now_s: float) -> None:
        """End the load well; the requests that wait for it run next."""
        if self.state is not LOADING:
            raise LOADED.refused(self.state, self.name)
        if self.claiming:
            raise IllegalTransition(f"loaded: model {self.name!r} still waits for the bytes of its victims")
        self.state = _AFTER_LOAD_FOR if self.pins else _AFTER_LOAD
        self.zone.idle += 0 if self.pins else self.bytes
        self.loaded_at_s = now_s

    def pin(self) -> None:
        """Hold the model in place for one more run."""
        if self.state is RESIDENT:
            self.zone.idle -= self.bytes
        elif self.state is not IN_USE:
            raise PINNED.refused(self.state, self.name)
        self.state = _AFTER_PIN
        self.pins += 1

    def unpin(self) -> bool:
        """End one run. Returns whether it was the last one, so that the model may leave."""
        if self.state is not IN_USE:
            raise UNPINNED.refused(self.state, self.name)
        self.pins -= 1
        if self.pins:
            return False
        self.state = _AFTER_UNPIN
        self.zone.idle += self.bytes
        return True

    def __repr__(self) -> str:
        return f"<Model {self.name} {self.state.value} in {self.zone.name}, {self.bytes} bytes>"


class Ledger:
    """Bytes held and bytes promised under one cap. Only the verbs of :class:`Zone` move them."""

    __slots__ = ("bound", "cap", "committed", "held", "limit", "lost", "name")

    def __init__(self, name: str, cap_bytes: int) -> None:
        self.name = name
        self.cap = self.limit = cap_bytes  # the limit is more only after the cap has shrunk
        self.lost = ""  # why nothing will ever be loaded again, once that is so
        self.held = self.committed = 0
        self.bound = 0  # requests for which a model found too few bytes here

    def resize(self, cap_bytes: int) -> None:
        """Change the cap. What is there and promised stays, and nothing new comes in above the cap."""
        self.cap = cap_bytes
        self.limit = max(cap_bytes, self.held, self.committed)


class Zone(Ledger):
    """One zone: a ledger, the zone's rules, and the policy that ranks its models for eviction.

    Its verbs move a model from state to state, and the bytes of zone and device with it. A load is
    ``promise``, ``grant``, then :meth:`Model.loaded` or ``cancel``; an eviction is ``reclaim``, ``release``.
    """

    __slots__ = (
        "borrowers", "bound_slots", "count", "device", "guests", "idle", "max_models", "never", "policy",
        "reluctant", "retention_s",
    )  # fmt: skip

    def __init__(self, name: str, config: ZoneConfig, policy: Policy, device: Ledger) -> None:
        super().__init__(name, config.size_bytes)
        self.device, self.policy = device, policy
        self.never = config.eviction_policy == "never"
        self.reluctant = config.eviction_policy == "reluctant_lru"
        self.retention_s = config.min_retention_time
        self.max_models = config.max_models
        self.bound_slots = 0  # requests for which a model found `max_models` there
        self.borrowers: frozenset[Priority] = frozenset(config.borrowers)
        self.idle = 0  # bytes of the resident ones that nobody uses
        self.count = 0  # models loading, resident or in use here
        self.guests = 0  # those of them whose home is elsewhere

    # -- what may be ---------------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Whether a load of `size` bytes may be promised here, with nobody leaving for it."""
        return (
            size <= self.cap - self.committed
            and size <= self.device.cap - self.device.committed
            and (self.max_models is None or self.count < self.max_models)
        )

    def has_bytes(self, size: int, kept: int = 0, kept_device: int = 0) -> bool:
        """Whether so many bytes are there now, beside those that are kept for others."""
        device = self.device
        return self.held + kept + size <= self.cap and device.held + kept_device + size <= device.cap

    def note_shortage(self, size: int) -> None:
        """Count what keeps a model of this home out of free room: a limit that nobody meant to set shows."""
        device = self.device
        device.bound += size > device.cap - device.committed
        self.bound += size > self.cap - self.committed
        self.bound_slots += self.max_models is not None and self.count >= self.max_models

    # -- verbs ---------------------------------------------------------------------------------------

    def promise(self, model: Model) -> None:
        """Decide to load `model` here: it has a claim on its bytes from now on."""
        if model.state is not ABSENT:
            raise PROMISED.refused(model.state, model.name)
        model.state = _AFTER_PROMISE
        model.claiming = True
        if model.zone is not self:
            self._settle(model)
        self.count += 1
        self.guests += model.guest
        self.committed += model.bytes
        self.device.committed += model.bytes

    def grant(self, model: Model) -> None:
        """Give `model` the bytes that it was promised: its load may start."""
        model.claiming = False
        self.held += model.bytes
        self.device.held += model.bytes

    def cancel(self, model: Model) -> None:
        """Take back promise and bytes, as the load of `model` has failed; its pins are gone."""
        model.state = FAILED.after(model.state, model.name)
        model.pins = 0
        if model.claiming:
            model.claiming = False
        else:
            self.held -= model.bytes
            self.device.held -= model.bytes
        self._unpromise(model)

    def reclaim(self, model: Model) -> None:
        """Begin to send `model` away: its bytes may be promised to others, and are still held."""
        if model.state is not RESIDENT:
            raise CHOSEN.refused(model.state, model.name)
        model.state = _AFTER_CHOICE
        self.idle -= model.bytes
        self._unpromise(model)

    def release(self, model: Model) -> None:
        """Give the bytes of `model` back, as it has left the device."""
        if model.state is not EVICTING:
            raise UNLOADED.refused(model.state, model.name)
        model.state = _AFTER_UNLOADING
        self.held -= model.bytes
        self.device.held -= model.bytes

    # What takes no time, in one step: a third less than two steps take (test_bench_decide). Nothing else is
    # under way in a zone that is used so, and what is committed is what is held.

    def admit(self, model: Model) -> None:
        """Promise, grant and load at once."""
        size, device = model.bytes, self.device
        if model.state is not ABSENT:
            raise ADMITTED_AT_ONCE.refused(model.state, model.name)
        model.state = _AFTER_ADMISSION
        if model.zone is not self:
            self._settle(model)
        self.count += 1
        self.guests += model.guest
        self.idle += size
        self.committed = self.held = self.held + size
        device.committed = device.held = device.held + size

    def expel(self, model: Model) -> None:
        """Reclaim and release at once."""
        size, device = model.bytes, self.device
        if model.state is not RESIDENT:
            raise EXPELLED_AT_ONCE.refused(model.state, model.name)
        model.state = _AFTER_EXPULSION
        self.count -= 1
        self.guests -= model.guest
        self.idle -= size
        self.committed = self.held = self.held - size
        device.committed = device.held = device.held - size

    def _settle(self, model: Model) -> None:
        """Let `model` lie here and no longer where it was last."""
        model.zone = self
        model.guest = self is not model.home
        model.hit = Decision(Kind.HIT, model.name, self.name)

    def _unpromise(self, model: Model) -> None:
        self.count -= 1
        self.guests -= model.guest
        self.committed -= model.bytes
        self.device.committed -= model.bytes


def limits_met(device: Ledger, zones: dict[str, Zone]) -> dict[str, int]:
    """Count how often each limit left a requested model no free room at home; only those that ever did.

    By name, as in ``max_models in flexible``; ``total_memory_mb`` is the device's.
    """
    counts = {"total_memory_mb": device.bound}
    for name, zone in zones.items():
        counts[f"size_mb in {name}"] = zone.bound
        counts[f"max_models in {name}"] = zone.bound_slots
    return {name: count for name, count in counts.items() if count}


@mypyc_attr(allow_interpreted_subclasses=True)
class Policy:
    """Ranks the models of one zone; one instance serves one zone.

    A class of one's own may take this as its base and so inherit the switches.

    Attributes
    ----------
    in_order : bool
        Victims are taken strictly in the order of :meth:`ranked`; else those that later ones make
        unnecessary are spared.
    adds_up : bool
        Scores of several models may be compared with each other as sums (``victims: exact``).
    """

    in_order: ClassVar[bool] = False
    adds_up: ClassVar[bool] = True

    def admitted(self, model: Model, now_s: float) -> None:
        """`model` is being loaded for a request, or preloaded; its account is already up to date."""

    def used(self, model: Model, now_s: float) -> None:
        """A request asked for `model`, which is tracked; its account is already up to date."""

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

    def grown(self, model: Model) -> None:
        """`model`, which is not tracked, has turned out larger than it was; nothing by default."""

    def score(self, model: Model, now_s: float) -> float:
        """How much `model`, tracked or not, is worth keeping; the lowest leaves first."""
        raise NotImplementedError

    def ranked(self, now_s: float) -> Iterable[Model]:
        """All tracked models, the first to leave first.

        May be lazy: it is consumed before anything else is told to the policy. It changes nothing that
        shows, as the victims may turn out not to be enough, and nobody leaves.
        """
        raise NotImplementedError
