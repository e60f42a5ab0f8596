"""Baselines that stand outside what is compared: one pool, and the specification's zones, on the same card.

A gap that is measured against LRU *inside* somebody's zones makes bad zones look like progress. So LRU has
all of the card's memory as one pool here, without limits on numbers and without retention; all else is as the
configuration has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from vramlab.config.errors import InputError
from vramlab.config.fingerprints import fingerprint
from vramlab.config.schema import ZONE_DEFAULTS, VramConfig, of_models
from vramlab.config.validation import validated
from vramlab.experiments.case import Case

LRU = "one pool, lru"
SPECIFICATION = "the specification's zones"
_CARD_MB = 6144.0  # of the specification, whose zones are scaled with the card


class Baseline(NamedTuple):
    """A baseline; `case` is None where it cannot be had, and `why` says why."""

    name: str
    case: Case | None
    why: str = ""

    @property
    def what(self) -> str:
        """Hash of its configuration."""
        return "" if self.case is None else fingerprint(self.case.config)


def pool_name(policy: str) -> str:
    """Return how tables call one pool with a policy."""
    return f"one pool, {policy}"


def one_pool(case: Case, policy: str) -> Case:
    """Return a case with all that the card has for models as one zone, under a policy.

    Raises
    ------
    InputError
        If the models do not go with it.
    """
    config = case.config
    name: str = "flexible"
    zone: dict[str, Any] = {"borrowers": ()}
    if len(config.zones) == 1:
        ((name, only),) = config.zones.items()
        zone = only.model_dump(mode="json")
    reserved = tuple(model for zone in config.zones.values() for model in zone.reserved_models)
    zone |= {
        "size_mb": config.total_memory_mb - config.overhead.total_mb,
        "max_models": None,
        "min_retention_time": 0,
        "eviction_policy": "aggressive_lru",
        "reserved_models": reserved,
    }
    return _zoned(case, {name: zone}, policy)


def specification_zones(case: Case) -> Case:
    """Return a case with the specification's zones, scaled to its card, under the policy that it has.

    Raises
    ------
    InputError
        If the models do not go with it.
    """
    share = case.config.total_memory_mb / _CARD_MB
    zones = {
        name: {**zone, "size_mb": round(float(str(zone["size_mb"])) * share, 3)}
        for name, zone in ZONE_DEFAULTS.items()
    }
    return _zoned(case, zones, case.config.scoring.policy)


def _zoned(case: Case, zones: dict[str, Any], policy: str) -> Case:
    data = case.config.model_dump(mode="json") | {"zones": zones, "server": None}
    scoring = case.config.scoring
    if policy != scoring.policy:  # weights belong to the policy that they were given with
        data["scoring"] = data["scoring"] | {"policy": policy, "weights": {}, "victims": "auto"}
    config = validated(VramConfig, data, "baseline", "")
    return _homeless(case).under(config)


def _homeless(case: Case) -> Case:
    """Return a case whose models name no zone."""
    if all(spec.zone is None for spec in case.inventory.values()):
        return case
    homeless = of_models(case.inventory, lambda spec: spec.model_copy(update={"zone": None}))
    return replace(case, inventory=homeless)


def baselines_of(case: Case, policies: Sequence[str] = ()) -> list[Baseline]:
    """Return one pool with LRU, with each of the policies, and the specification's zones.

    Parameters
    ----------
    case : Case
        Whose card, models and settings.
    policies : sequence of str
        Beside LRU; the configuration's own where none are given.
    """
    names = dict.fromkeys(["lru", *(policies or [case.config.scoring.policy])])
    case = _homeless(case)  # once for all of them
    made = {pool_name(name): partial(one_pool, case, name) for name in names}
    made[SPECIFICATION] = partial(specification_zones, case)
    found = []
    for name, make in made.items():
        try:
            found.append(Baseline(name, make()))
        except InputError as error:
            found.append(Baseline(name, None, str(error)))
    return found
