"""The account of each model, made from the inventory and the configuration."""

from __future__ import annotations

from vramlab.allocator.facts import Model, Zone
from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, VramConfig, zone_of


def accounts(config: VramConfig, inventory: Inventory, zones: dict[str, Zone]) -> dict[str, Model]:
    """Make the account of each model, with the zones where it may be placed."""
    models: dict[str, Model] = {}
    for number, (name, spec) in enumerate(config.held(inventory).items()):
        home = zones.get(zone_of(spec, config, name))
        if home is None:
            expected = f"one of {', '.join(zones)}"
            raise InputError("inventory", f"models.{name}.zone", repr(spec.zone), expected)
        lenders = [zone for zone in zones.values() if zone is not home and spec.priority in zone.borrowers]
        models[name] = Model(
            name,
            number,
            spec,
            [home, *lenders],
            config.scoring.priority_weights,
            config.fallback.cpu_fallback_enabled,
        )
        models[name].keep_alive_s = config.rules.timeout_s(name)
        models[name].critical |= name in config.rules.pinned
    return models


def loaded_at_start(config: VramConfig, models: dict[str, Model]) -> list[str]:
    """List the models that are always loaded, that a zone reserves its place for, and that are pinned."""
    reserved = {name for zone in config.zones.values() for name in zone.reserved_models}
    chosen = reserved.union(config.rules.pinned)
    return [name for name, model in models.items() if model.always_loaded or name in chosen]
