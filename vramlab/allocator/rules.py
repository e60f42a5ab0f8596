"""Rules of model servers (:class:`~vramlab.config.rules.RulesConfig`): who may be there with whom.

They come before bytes and scores: a load is *barred* while models that may not be there with it are in use,
and *clears* what has to leave first; then it is planned as without rules. All are facts and pure choices; the
allocator moves the ledger.

Where each comes from:

- groups: llama-swap 0bdb372, ``internal/router/group.go`` (``swap``, ``exclusive``, ``persistent``), read
  August 2026; LocalAI 82c191a, ``pkg/model/watchdog.go`` (models of a shared group leave).
- sets: llama-swap 0bdb372, ``internal/matrix/program.go``: of the states with the target the one with the
  least sum of ``evict_cost`` over running models left out, the first of equals; an unknown target evicts
  all.
- one victim, then the check again; room only where others are there: Ollama fb30760, ``server/sched.go``.
- room in MB: vramd d70128c (0.3.9), ``vram_planner.py``.
- refusal of churn: ModelMesh ea13cdc, ``ModelMesh.java``.
"""

from __future__ import annotations

from collections.abc import Mapping

from vramlab.allocator.decisions import CLEAR, LOAD, WAIT, Kind
from vramlab.allocator.eviction import Requester
from vramlab.allocator.facts import EVICTING, RESIDENT, STAYING, Ledger, Model, Zone
from vramlab.allocator.planning import Plan, Planner
from vramlab.config.rules import RulesConfig
from vramlab.config.units import mib_to_bytes


class RuledPlanner:
    """Plans as a :class:`Planner` does, under rules.

    Parameters
    ----------
    planner : Planner
        Plans by bytes, admission and scores.
    config : RulesConfig
        The rules.
    models : mapping of str to Model
        All models.
    device : Ledger
        The device-wide budget.
    """

    def __init__(
        self, planner: Planner, config: RulesConfig, models: Mapping[str, Model], device: Ledger
    ) -> None:
        self._planner, self._config, self._models, self._device = planner, config, models, device
        self._extra_bytes = mib_to_bytes(config.headroom_mb)
        self._sets = [frozenset(together) for together in config.sets]
        self._apart = {model: _sent_away(model, config, models) for model in models.values() if config.groups}

    def free_place(self, model: Model) -> Zone | None:
        """Return the first zone that has room for `model`, with nobody leaving for it."""
        return None if self._company(model) else self._planner.free_place(model, self._room(model))

    def plan(self, model: Model, requester: Requester, runs: bool = True) -> Plan:
        """Say what could be done for a request for a model that is absent, or leaving."""
        if model.state is EVICTING:
            return self._planner.plan(model, requester, runs)
        leaving = self._company(model)
        busy = [other for other in leaving if self._in_use(other, requester)]
        if busy:
            return Plan(WAIT, model, busy, "models that may not be there with it are in use")
        if leaving:
            return Plan(CLEAR, model, leaving, "they may not be there with it")
        plan = self._planner.plan(model, requester, runs, self._room(model))
        if plan.kind is LOAD and plan.victims:
            if requester.now_s - plan.victims[0].last_used_s < self._config.churn_age_s:
                return Plan(Kind.REFUSE, model, [], "memory is full of models used just now")
            if self._config.one_victim:
                return Plan(CLEAR, model, plan.victims[:1], "one leaves, then it is decided anew")
        return plan

    def _room(self, model: Model) -> int:
        """Bytes that have to be free for a load: with headroom more than it takes, at most all."""
        config = self._config
        if not self._device.committed and not config.headroom_alone:
            return model.bytes
        room = int(-(-model.bytes * config.headroom_factor // 1)) + self._extra_bytes
        return max(model.bytes, min(room, self._device.cap, model.home.cap))

    def _in_use(self, model: Model, requester: Requester) -> bool:
        """Whether a model cannot leave now for a requester."""
        if model.state is not RESIDENT:
            return True
        place, waited_for = model.wanted, self._config.waited_for
        if place is None or waited_for == "ignored":
            return False
        return waited_for == "in_use" or requester.turn is None or place <= requester.turn

    def _company(self, model: Model) -> list[Model]:
        """Models that may not be there with `model`, in the order of the inventory."""
        if self._sets:
            there = [
                other for other in self._models.values() if other.state in STAYING and other is not model
            ]
            return self._by_sets(model, there)
        return [other for other in self._apart.get(model, ()) if other.state in STAYING]

    def _by_sets(self, model: Model, there: list[Model]) -> list[Model]:
        costs = self._config.evict_costs
        least, chosen = None, frozenset[str]()
        for together in self._sets:
            if model.name not in together:
                continue
            cost = sum([costs.get(other.name, 1.0) for other in there if other.name not in together], 0.0)
            if least is None or cost < least:
                least, chosen = cost, together
        return [other for other in there if other.name not in chosen]


def _sent_away(model: Model, config: RulesConfig, models: Mapping[str, Model]) -> list[Model]:
    """Models that groups send away when `model` is loaded."""
    groups = config.groups
    mine = [name for name, group in groups.items() if model.name in group.members]
    leaving: set[str] = set()
    for name in mine:
        if groups[name].swap:
            leaving.update(groups[name].members)
        if groups[name].exclusive:
            for other, group in groups.items():
                if other not in mine and not group.persistent:
                    leaving.update(group.members)
    others = [other for other in models.values() if other.name in leaving and other is not model]
    return [other for other in others if not other.critical]  # critical and pinned ones never leave
