"""A first inventory for the models of an imported trace, to be put right by hand or by profiling."""

from __future__ import annotations

from collections.abc import Mapping

from vramlab.config.schema import Inventory, ModelSpec, Priority
from vramlab.config.units import bytes_to_mib
from vramlab.traces.trace import Trace

# Where a source has no sizes; the load time per MB is that of the GenAI 2026 inventory.
DEFAULT_SIZE_MB = 512.0
LOAD_MS_PER_MB = 3.4


def inventory_of(
    trace: Trace, sizes_bytes: Mapping[str, int] | None = None, assumed_mb: float = DEFAULT_SIZE_MB
) -> Inventory:
    """Inventory of the models of a trace, sorted by name.

    Parameters
    ----------
    trace : Trace
        Whose models.
    sizes_bytes : mapping of str to int, optional
        As in :class:`~vramlab.traces.importers.options.ImportReport`.
    assumed_mb : float
        Size of a model without one there, or with 0; MB. Loading is taken to need 3.4 ms per MB; priority is
        medium, the fallback ``cpu_standard``.
    """
    inventory: Inventory = {}
    for name in sorted(trace.model_names):
        size_bytes = (sizes_bytes or {}).get(name, 0)
        size_mb = bytes_to_mib(size_bytes) if size_bytes else assumed_mb
        inventory[name] = ModelSpec(
            priority=Priority.MEDIUM,
            vram_size_mb=size_mb,
            load_time_ms=round(size_mb * LOAD_MS_PER_MB, 3),
            cpu_fallback="cpu_standard",
        )
    return inventory


def _listed(names: list[str], most: int = 5) -> str:
    """The first few names, and how many more."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def assumptions(
    inventory: Inventory, sizes_bytes: Mapping[str, int], assumed_mb: float = DEFAULT_SIZE_MB
) -> list[str]:
    """What :func:`inventory_of` did not know, in sentences for people."""
    unknown = [name for name in inventory if not sizes_bytes.get(name)]
    lines = [f"ASSUMED, not measured: load_time_ms ({LOAD_MS_PER_MB} ms per MB), inference_ms, priority"]
    if unknown:
        which = "all" if len(unknown) == len(inventory) else _listed(unknown)
        models = f"{len(unknown):,} of {len(inventory):,} models ({which})"
        lines.append(f"ASSUMED, not measured: vram_size_mb {assumed_mb:g} of {models}")
    return [*lines, "Put right what you know; `vramlab profile` measures models whose ONNX files you have."]
