"""The account of each model, made from the inventory and the configuration."""

from __future__ import annotations

from vramlab.allocator.facts import Model, Zone
from vramlab.allocator.traits import Traits
from vramlab.config.errors import InputError
from vramlab.config.rules import RulesConfig
from vramlab.config.schema import Inventory, VramConfig, homes_of, of_models


def accounts(config: VramConfig, inventory: Inventory, zones: dict[str, Zone]) -> dict[str, Model]:
    """Make the account of each model, with the zones where it may be placed."""
    weights, cpu_enabled = config.scoring.priority_weights, config.fallback.cpu_fallback_enabled
    traits = of_models(config.held(inventory), lambda spec: Traits(spec, weights, cpu_enabled))
    models: dict[str, Model] = {}
    for number, (name, home_name) in enumerate(homes_of(inventory, config).items()):
        home, its = zones.get(home_name), traits[name]
        if home is None:
            expected = f"one of {', '.join(zones)}"
            raise InputError("inventory", f"models.{name}.zone", repr(home_name), expected)
        lenders = [zone for zone in zones.values() if zone is not home and its.priority in zone.borrowers]
        models[name] = Model(name, number, its, [home, *lenders])
    if config.rules != RulesConfig():
        for name, model in models.items():
            model.keep_alive_s = config.rules.timeout_s(name)
            model.critical |= name in config.rules.pinned
    return models


def loaded_at_start(config: VramConfig, inventory: Inventory) -> list[str]:
    """List the models that are always loaded, that a zone reserves its place for, and that are pinned."""
    reserved = {name for zone in config.zones.values() for name in zone.reserved_models}
    chosen = reserved.union(config.rules.pinned)
    return [name for name, spec in inventory.items() if spec.always_loaded or name in chosen]
