"""The allocator that a configuration asks for."""

from __future__ import annotations

from vramlab.allocator.allocator import Allocator
from vramlab.allocator.placement import Contiguous, Paged, Unmapped
from vramlab.config.schema import Inventory, VramConfig


def make_allocator(config: VramConfig, inventory: Inventory, mapped: bool = True) -> Allocator:
    """Make the allocator for the placement that the configuration asks for.

    Parameters
    ----------
    config, inventory
        As for :class:`Allocator`.
    mapped : bool
        Keep a map even where it decides nothing. Without it, millions of decisions are cheaper.
    """
    if config.placement == "contiguous":
        return Allocator(config, inventory, Contiguous)
    return Allocator(config, inventory, Paged if mapped else Unmapped)
