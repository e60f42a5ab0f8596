"""A first inventory for the models of an imported trace, to be put right by hand or by profiling."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, ModelSpec, Priority
from vramlab.config.units import bytes_to_mib
from vramlab.traces.trace import Trace

# Where a source has no sizes; the load time per MB is that of the GenAI 2026 inventory.
DEFAULT_SIZE_MB = 512.0
LOAD_MS_PER_MB = 3.4


def inventory_of(
    trace: Trace,
    sizes_bytes: Mapping[str, int] | None = None,
    assumed_mb: float = DEFAULT_SIZE_MB,
    loads_s: Mapping[str, float] | None = None,
) -> Inventory:
    """Return the inventory of the models of a trace, sorted by name.

    Parameters
    ----------
    trace : Trace
        Whose models.
    sizes_bytes : mapping of str to int, optional
        As in :class:`~vramlab.traces.importers.options.ImportReport`.
    assumed_mb : float
        Size of a model without one there, or with 0; MB. Loading is taken to need 3.4 ms per MB; priority is
        medium, the fallback ``cpu_standard``.
    loads_s : mapping of str to float, optional
        Load times that were seen, seconds.
    """
    inventory: Inventory = {}
    for name in sorted(trace.model_names):
        size_bytes = (sizes_bytes or {}).get(name, 0)
        size_mb = bytes_to_mib(size_bytes) if size_bytes else assumed_mb
        load_s = (loads_s or {}).get(name)
        inventory[name] = ModelSpec(
            priority=Priority.MEDIUM,
            vram_size_mb=size_mb,
            load_time_ms=round(size_mb * LOAD_MS_PER_MB if load_s is None else 1000 * load_s, 3),
            cpu_fallback="cpu_standard",
        )
    return inventory


def _listed(names: list[str], most: int = 5) -> str:
    """Return the first few names, and how many more."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def assumptions(
    inventory: Inventory,
    sizes_bytes: Mapping[str, int],
    assumed_mb: float = DEFAULT_SIZE_MB,
    loads_s: Mapping[str, float] | None = None,
) -> list[str]:
    """Return what :func:`inventory_of` did not know, in sentences for people."""
    unknown = [name for name in inventory if not sizes_bytes.get(name)]
    unseen = [name for name in inventory if name not in (loads_s or {})]
    of_whom = f" of {len(unseen):,} of {len(inventory):,} models" if loads_s and unseen else ""
    load = f"load_time_ms ({LOAD_MS_PER_MB} ms per MB){of_whom}, " if unseen else ""
    lines = [f"ASSUMED, not measured: {load}inference_ms, priority"]
    if unknown:
        which = "all" if len(unknown) == len(inventory) else _listed(unknown)
        models = f"{len(unknown):,} of {len(inventory):,} models ({which})"
        lines.append(f"ASSUMED, not measured: vram_size_mb {assumed_mb:g} of {models}")
    return [*lines, "Put right what you know; `vramlab profile` measures models whose ONNX files you have."]


def sizes_of_ps(path: Path | str, names: Iterable[str]) -> dict[str, int]:
    """Return the sizes that Ollama's ``/api/ps`` told, by the names of a trace (``ollama/x:7b`` is ``x:7b``).

    Raises
    ------
    InputError
        If it is no such answer, or has none of the models.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        models = document["models"]
        sizes = {model["name"]: int(model.get("size_vram") or model["size"]) for model in models}
    except OSError as error:
        raise InputError(
            path, "", (error.strerror or str(error)).lower(), "a file that can be read"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        expected = '{"models": [{"name": ..., "size_vram": ...}]}, as /api/ps answers'
        raise InputError(path, "", f"no such answer ({type(error).__name__}: {error})", expected) from error
    found = {}
    for name in names:
        known = next(
            (of for of in (name, name.split("/")[-1], f"{name.split('/')[-1]}:latest") if of in sizes), None
        )
        if known is not None:
            found[name] = sizes[known]
    if not found:
        there = ", ".join(sizes) or "no models"
        raise InputError(
            path, "models", there, "a model of the trace; /api/ps lists what is loaded at the moment"
        )
    return found
