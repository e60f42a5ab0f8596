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

from collections.abc import Iterable, Mapping

from vramlab.allocator.facts import Model
from vramlab.allocator.states import IN_USE, LOADING, RESIDENT
from vramlab.config.rules import RulesConfig
from vramlab.config.units import mib_to_bytes

_THERE = (RESIDENT, IN_USE, LOADING)


class Rules:
    """The rules of one allocator.

    Parameters
    ----------
    config : RulesConfig
        What holds.
    models : mapping of str to Model
        All models.
    """

    def __init__(self, config: RulesConfig, models: Mapping[str, Model]) -> None:
        self.config = config
        self._models = models
        self._extra_bytes = mib_to_bytes(config.headroom_mb)
        self._sets = [frozenset(together) for together in config.sets]

    def room_for(self, model: Model, alone: bool) -> int:
        """Bytes that have to be free for a load: more than it takes, where there is headroom to be kept."""
        if alone and not self.config.headroom_alone:
            return model.bytes
        return int(-(-model.bytes * self.config.headroom_factor // 1)) + self._extra_bytes

    def clears(self, model: Model) -> list[Model]:
        """Models that have to leave before `model` is loaded, in the order of the inventory."""
        if not self.config.groups and not self._sets:
            return []
        there = [other for other in self._models.values() if other.state in _THERE and other is not model]
        return self._by_sets(model, there) if self._sets else self._by_groups(model, there)

    def in_use(self, model: Model) -> bool:
        """Whether a model cannot leave now."""
        return model.state is not RESIDENT or (
            self.config.waited_for == "in_use" and model.wanted is not None
        )

    def churns(self, victims: Iterable[Model], now_s: float) -> bool:
        """Whether a load is refused, as its first victim was used too short a time ago."""
        first = next(iter(victims), None)
        return first is not None and now_s - first.last_used_s < self.config.churn_age_s

    def _by_groups(self, model: Model, there: list[Model]) -> list[Model]:
        groups = self.config.groups
        mine = [name for name, group in groups.items() if model.name in group.members]
        leaving: set[str] = set()
        for name in mine:
            if groups[name].swap:
                leaving.update(groups[name].members)
            if groups[name].exclusive:
                for other, group in groups.items():
                    if other not in mine and not group.persistent:
                        leaving.update(group.members)
        return [other for other in there if other.name in leaving]

    def _by_sets(self, model: Model, there: list[Model]) -> list[Model]:
        costs = self.config.evict_costs
        least, chosen = None, frozenset[str]()
        for together in self._sets:
            if model.name not in together:
                continue
            cost = sum(costs.get(other.name, 1.0) for other in there if other.name not in together)
            if least is None or cost < least:
                least, chosen = cost, together
        return [other for other in there if other.name not in chosen]
